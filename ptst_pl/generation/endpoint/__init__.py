"""A client of any OpenAI-compatible server: for judges, and for models that are served somewhere else."""

from ptst_pl.generation.endpoint.client import Endpoint, RequestFailedError
from ptst_pl.generation.endpoint.messages import Failure, Outcome, Reply, Request
from ptst_pl.generation.endpoint.settings import EndpointSettings

__all__ = ["Endpoint", "EndpointSettings", "Failure", "Outcome", "Reply", "Request", "RequestFailedError"]
