"""A server on loopback with OpenAI's routes for files and fine-tuning jobs: it keeps state and can misbehave."""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SCRIPT = ("validating_files", "queued", "running", "succeeded")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; ``after`` does it once the request has been carried out."""

    status: int = 0
    body: str = '{"error": {"message": "not now"}}'
    drop: bool = False
    after: bool = False
    retry_after: str = "0.01"


class JobsServer(ThreadingHTTPServer):
    """``fault(route, how often it was asked before)`` may spoil a request; a route is e.g. ``POST /files``."""

    daemon_threads = True

    def __init__(self, fault: Callable[[str, int], Fault | None] = lambda route, before: None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.lock = fault, threading.Lock()
        self.files: dict[str, dict] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict] = {}
        self.events: dict[str, list[dict]] = {}
        self.scripts: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.keys: set[str] = set()
        self.script: tuple[str, ...] = SCRIPT
        self.file_status = ("processed", None)
        self.keeps_metadata = True
        self.page = 100
        self.lag = 0  # listings until a new job is in the list
        self.hidden: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address) -> None:
        """A client that is killed is part of the tests."""

    # ---- state ------------------------------------------------------------------------------

    def add_file(self, name: str, content: bytes) -> dict:
        status, details = self.file_status
        file = {"id": f"file-{len(self.files)}", "object": "file", "bytes": len(content), "filename": name}
        file |= {"purpose": "fine-tune", "created_at": len(self.files), "status": status, "status_details": details}
        self.files[file["id"]], self.contents[file["id"]] = file, content
        return file

    def add_job(self, asked: dict) -> dict:
        job_id = f"ftjob-{len(self.jobs)}"
        job = {"id": job_id, "object": "fine_tuning.job", "created_at": len(self.jobs), "model": asked["model"]}
        job |= {"training_file": asked["training_file"], "fine_tuned_model": None, "error": None}
        if self.keeps_metadata:
            job["metadata"] = asked.get("metadata")
        self.jobs[job_id], self.hidden[job_id] = job, self.lag
        self.scripts[job_id], self.events[job_id] = list(self.script), []
        self.advance(job_id)
        return job

    def advance(self, job_id: str) -> dict:
        """The job's next status, if it has one."""
        job, script = self.jobs[job_id], self.scripts[job_id]
        if script:
            job["status"] = script.pop(0)
            self.tell(job_id, f"now {job['status']}")
            if job["status"] == "succeeded":
                job |= {"fine_tuned_model": f"ft:{job['model']}:org::{job_id}", "trained_tokens": 1234}
            if job["status"] == "failed":
                message = "The job failed due to an invalid training file.\nLine 3 is odd."
                job["error"] = {"code": "invalid_training_file", "message": message, "param": "training_file"}
        return job

    def tell(self, job_id: str, message: str) -> None:
        events = self.events[job_id]
        events.append({"id": f"ev-{len(events)}", "created_at": len(events), "level": "info", "message": message})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JobsServer

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/v1")
        words = path.strip("/").split("/")
        generic = "/".join("ID" if word.startswith(("file-", "ftjob-")) else word for word in words)
        with self.server.lock:
            route = f"{method} /{generic}"
            fault = self.server.fault(route, self.server.asked[route])
            self.server.asked[route] += 1
            self.server.keys.add(self.headers.get("Authorization", ""))
            if fault is None or fault.after:
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                status, reply = self.handle_route(method, words, body, query)
            if fault is not None:
                return self.spoil(fault)
        self.send(status, json.dumps(reply))
        return None

    def spoil(self, fault: Fault) -> None:
        if fault.drop:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        else:
            # Servers have been seen to repeat the key that they were sent.
            self.send(fault.status, fault.body.replace("KEY", self.headers["Authorization"]), fault.retry_after)

    def send(self, status: int, text: str, retry_after: str | None = None) -> None:
        raw = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(raw)

    def handle_route(self, method: str, words: list[str], body: bytes, query: dict[str, str]) -> tuple[int, dict]:
        server = self.server
        match method, words:
            case "GET", ["files"]:
                return 200, self.paged(list(server.files.values()), query)
            case "POST", ["files"]:
                return 200, server.add_file(*self.form_file(body))
            case "GET", ["files", file_id] if file_id in server.files:
                return 200, server.files[file_id]
            case "GET", ["fine_tuning", "jobs"]:
                for job_id in server.hidden:
                    server.hidden[job_id] -= 1
                return 200, self.paged([j for j in server.jobs.values() if server.hidden[j["id"]] < 0][::-1], query)
            case "POST", ["fine_tuning", "jobs"]:
                asked = json.loads(body)
                server.bodies.append(asked)
                if asked["training_file"] not in server.files:
                    return 400, {"error": {"message": "no such training file", "code": "invalid_file"}}
                return 200, server.add_job(asked)
            case _, ["fine_tuning", "jobs", job_id, *rest] if job_id in server.jobs:
                if rest == ["events"]:
                    return 200, self.paged(server.events[job_id][::-1], query)
                if rest == ["cancel"]:
                    if server.jobs[job_id]["status"] in ("succeeded", "failed", "cancelled"):
                        return 400, {"error": {"message": "the job has ended"}}
                    server.scripts[job_id] = ["cancelled"]
                return 200, server.advance(job_id)
        return 404, {"error": {"message": f"nothing at {'/'.join(words)}", "code": "not_found"}}

    def paged(self, items: list[dict], query: dict[str, str]) -> dict:
        size = min(int(query.get("limit", 20)), self.server.page)
        ids = [item["id"] for item in items]
        start = ids.index(query["after"]) + 1 if "after" in query else 0
        return {"object": "list", "data": items[start : start + size], "has_more": start + size < len(items)}

    def form_file(self, body: bytes) -> tuple[str, bytes]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        assert parts["purpose"].get_content().strip() == "fine-tune"
        return parts["file"].get_filename(), parts["file"].get_payload(decode=True)

    def log_message(self, format, *args) -> None:
        """Keeps the test's output clean."""


@contextlib.contextmanager
def serving_jobs(fault: Callable[[str, int], Fault | None] = lambda route, before: None) -> Iterator[JobsServer]:
    with JobsServer(fault) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
