"""The model at work on slots: prefix, prompts, then one token for every row and step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.attention import Pass, PrefillPass, PrefixPass
from ptst_pl.generation.engine.cache import SlotCache
from ptst_pl.generation.engine.decode_pass import DecodePass
from ptst_pl.generation.engine.recorder import distrust, recordable, recorder_for
from ptst_pl.generation.engine.sampling import chooser, uniforms
from ptst_pl.generation.engine.schedule import Row
from ptst_pl.generation.engine.step_graph import Look, StepGraphs
from ptst_pl.model import causal_lm
from ptst_pl.model.sharding import in_root

log = logging.getLogger(__name__)


class ModelRunner:
    """Runs a model that attends by slots; see ``schedule.Runner``.

    Args:
        model: the causal language model below any adapter.
        cache: slots to work in.
        decoding: settings.
        prefix: the first tokens of every row's prompt, which are read here and now.
        graphs: replay recorded steps, where the device and the model allow; ``close`` gives them up.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        cache: SlotCache,
        decoding: Decoding,
        prefix: Sequence[int],
        graphs: bool = False,
    ) -> None:
        self.model = model
        self.cache, self.device = cache, cache.shape.device
        self.sampled, self.choose = decoding.temperature > 0, chooser(decoding)
        self.numbers: dict[int, Tensor] = {}
        self.prefix = len(prefix)
        cache.forget_prefix()
        if prefix:
            self.logits(torch.tensor([list(prefix)]), torch.arange(len(prefix))[None], PrefixPass(cache))
        recorder = recorder_for(self.device) if graphs and recordable(model) else None
        self.graphs: StepGraphs | None = None
        if recorder is not None:
            self.graphs = StepGraphs(cache, self.next_logits, self.choose, self.sampled, recorder)

    def logits(self, ids: Tensor, places: Tensor, work: Pass, ends: Tensor | None = None) -> Tensor:
        """(B, V) logits of one forward pass over (B, T) tokens, behind each row's last or behind (B,) ``ends``."""
        ends = None if ends is None else ends.to(self.device)
        return in_root(_forward, self.model, ids.to(self.device), places.to(self.device), work, ends)

    def _numbers(self, rows: Sequence[Row], steps: int) -> Tensor | None:
        """(steps, B) uniform numbers of the rows' next tokens."""
        if not self.sampled:
            return None
        for row in rows:
            if row.index not in self.numbers:
                self.numbers[row.index] = uniforms(row.request.seed, row.request.max_new_tokens)
        drawn = [self.numbers[row.index][len(row.made) : len(row.made) + steps] for row in rows]
        return torch.stack(drawn, 1).to(self.device)

    def prompt_logits(self, first: int, prompts: Sequence[Sequence[int]]) -> Tensor:
        """(B, V) logits behind B whole prompts, which fill the slots from ``first`` on; equal ones are read once."""
        wanted = [tuple(prompt[self.prefix :]) for prompt in prompts]
        number = {ids: place for place, ids in enumerate(dict.fromkeys(wanted))}
        ids, ends = _padded(list(number))
        sources = None
        if len(number) < len(wanted):
            sources = torch.tensor([number[one] for one in wanted], device=self.device)
        places = torch.arange(self.prefix, self.prefix + ids.shape[1]).expand(len(ids), -1)
        logits = self.logits(ids, places, PrefillPass(self.cache, first, sources), ends)
        return logits if sources is None else logits[sources]

    def prefill(self, first: int, rows: Sequence[Row]) -> list[int]:
        """See ``schedule.Runner``."""
        numbers = self._numbers(rows, 1)
        logits = self.prompt_logits(first, [row.request.ids for row in rows])
        tokens: list[int] = self.choose(logits, None if numbers is None else numbers[0]).tolist()
        return tokens

    def decode(self, rows: Sequence[Row], steps: int) -> list[list[int]]:
        """See ``schedule.Runner``. The tokens of all steps are fetched at once: the device is not waited for before."""
        held = [len(row.request.ids) - self.prefix + len(row.made) - 1 for row in rows]
        ids = torch.tensor([row.made[-1] for row in rows]).to(self.device)
        places = torch.tensor(held).to(self.device)
        look = Look(ids, places, max(held), self._numbers(rows, steps), steps)
        self._prepare(look)
        tokens: list[list[int]] = self.steps(look).tolist()
        return tokens

    def _prepare(self, look: Look) -> None:
        """Let steps be recorded that are worth it; where that fails, go on without."""
        if self.graphs is None:
            return
        scarce, failed = False, ""
        try:
            self.graphs.prepare(look)
        except torch.OutOfMemoryError:
            scarce = True
        except RuntimeError as error:
            failed = (str(error).splitlines() or [type(error).__name__])[0]
        # Behind the handlers: an error at hand keeps the tensors of its frames.
        if scarce:
            self.close()
            torch.cuda.empty_cache()
            log.warning("generation: no memory for CUDA graphs, going on without")
        elif failed:
            self.close()
            distrust(self.model, failed)

    def close(self) -> None:
        """Give up recorded steps, which hold memory and know where the weights lie now."""
        if self.graphs is not None:
            self.graphs.close()
            self.graphs = None

    def steps(self, look: Look) -> Tensor:
        """(steps, B) tokens that follow; nothing here waits for the device."""
        if self.graphs is not None:
            return self.graphs.steps(look)
        ids, places, made = look.ids, look.places, []
        for step in range(look.steps):
            work = DecodePass(self.cache, places, look.longest + step)
            logits = self.next_logits(ids, places, work)
            ids = self.choose(logits, None if look.numbers is None else look.numbers[step])
            made.append(ids)
            places = places + 1
        return torch.stack(made)

    def next_logits(self, ids: Tensor, places: Tensor, work: DecodePass) -> Tensor:
        """(B, V) logits behind (B,) ``ids``."""
        return self.logits(ids[:, None], (places + self.prefix)[:, None], work)

    def move(self, source: int, target: int, row: Row) -> None:
        """See ``schedule.Runner``."""
        # The newest token is in no slot yet, and the one before only if a step has followed the prompt.
        self.cache.move(source, target, len(row.request.ids) - self.prefix + len(row.made) - 1)


def _forward(model: nn.Module, ids: Tensor, places: Tensor, work: Pass, ends: Tensor | None) -> Tensor:
    inner = causal_lm(model)
    hidden = inner.get_decoder()(input_ids=ids, position_ids=places, use_cache=False, slots=work)[0]
    last = hidden[:, -1] if ends is None else hidden[torch.arange(len(ids), device=ids.device), ends]
    logits: Tensor = inner.get_output_embeddings()(last)
    cap = getattr(inner.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows as (B, T), filled up on the right with their own last token, and the (B,) places of their ends."""
    longest = max(len(row) for row in rows)
    ids = [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
    return torch.tensor(ids), torch.tensor([len(row) - 1 for row in rows])
