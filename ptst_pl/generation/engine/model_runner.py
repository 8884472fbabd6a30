"""The model at work on slots: prefix, prompts, then one token for every row and step."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ptst_pl.generation.decoding import Decoding
from ptst_pl.generation.engine.attention import Pass, PrefillPass, PrefixPass
from ptst_pl.generation.engine.cache import SlotCache
from ptst_pl.generation.engine.decode_pass import DecodePass
from ptst_pl.generation.engine.drafts import held
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

    def logits(self, ids: Tensor, places: Tensor, work: Pass) -> Tensor:
        """(B, V) logits of one forward pass over (B, T) tokens, behind each row's last."""
        return in_root(_forward, self.model, ids.to(self.device), places.to(self.device), work)

    def _numbers(self, rows: Sequence[Row], steps: int) -> Tensor | None:
        """(steps, B) uniform numbers of the rows' next tokens."""
        if not self.sampled:
            return None
        drawn = [self._drawn(row)[len(row.made) : len(row.made) + steps] for row in rows]
        return torch.stack(drawn, 1).to(self.device)

    def _drawn(self, row: Row) -> Tensor:
        """(longest answer,) uniform numbers of one answer."""
        if row.index not in self.numbers:
            self.numbers[row.index] = uniforms(row.request.seed, row.request.max_new_tokens)
        return self.numbers[row.index]

    def prompt_logits(self, first: int, prompts: Sequence[Sequence[int]]) -> Tensor:
        """(B, V) logits behind B whole prompts, which fill the slots from ``first`` on; equal ones are read once."""
        return self.read(first, prompts, [1] * len(prompts), lambda logits, start: logits)

    def read(
        self, first: int, texts: Sequence[Sequence[int]], tails: Sequence[int], use: Callable[[Tensor, int], Tensor]
    ) -> Tensor:
        """Fill the slots from ``first`` on with B texts, and use the logits behind the last tokens of each.

        Args:
            first: slot of the first text.
            texts: token ids, all beginning with the prefix; equal ones are read once.
            tails: of each text, behind how many last tokens the logits are wanted: N in all, text by text.
            use: gets (n, V) logits, n of the N at a time so that they fit into memory, and the first one's number.

        Returns:
            What ``use`` made of them, one behind the other.
        """
        wanted = [tuple(text[self.prefix :]) for text in texts]
        number = {ids: place for place, ids in enumerate(dict.fromkeys(wanted))}
        sources = None
        if len(number) < len(wanted):
            sources = torch.tensor([number[one] for one in wanted], device=self.device)
        ids = _padded(list(number))
        places = torch.arange(self.prefix, self.prefix + ids.shape[1]).expand(len(ids), -1)
        ends = [
            (number[one], len(one) - back)
            for one, tail in zip(wanted, tails, strict=True)
            for back in range(tail, 0, -1)
        ]
        work = PrefillPass(self.cache, first, sources)
        sent = ids.to(self.device), places.to(self.device), work, torch.tensor(ends).T.to(self.device)
        used: Tensor = in_root(_use, self.model, *sent, use, self.cache.slots)
        return used

    def prefill(self, first: int, rows: Sequence[Row]) -> list[list[int]]:
        """See ``schedule.Runner``. Equal prompts with equal drafts are read once."""
        tails = [len(row.draft) + 1 for row in rows]
        numbers: Tensor | None = None
        if self.sampled:
            numbers = torch.cat([self._drawn(row)[:tail] for row, tail in zip(rows, tails, strict=True)]).to(
                self.device
            )

        def choose(logits: Tensor, start: int) -> Tensor:
            return self.choose(logits, None if numbers is None else numbers[start : start + len(logits)])

        texts = [[*row.request.ids, *row.draft] for row in rows]
        chosen: list[int] = self.read(first, texts, tails, choose).tolist()
        ends = itertools.accumulate(tails)
        return [held(row.draft, chosen[end - tail : end]) for row, tail, end in zip(rows, tails, ends, strict=True)]

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

    def move(self, moves: Sequence[tuple[int, int, Row]]) -> None:
        """See ``schedule.Runner``."""
        if moves:
            sources, targets, rows = zip(*moves, strict=True)
            # The newest token is in no slot yet, and the one before only if a step has followed the prompt.
            held = [len(row.request.ids) - self.prefix + len(row.made) - 1 for row in rows]
            self.cache.move(sources, targets, max(held))


def _forward(model: nn.Module, ids: Tensor, places: Tensor, work: Pass) -> Tensor:
    return _head(model, _hidden(model, ids, places, work)[:, -1])


def _use(
    model: nn.Module,
    ids: Tensor,
    places: Tensor,
    work: Pass,
    ends: Tensor,
    use: Callable[[Tensor, int], Tensor],
    most: int,
) -> Tensor:
    """What ``use`` makes of the logits behind the (2, N) rows and places, ``most`` at a time."""
    hidden = _hidden(model, ids, places, work)[ends[0], ends[1]]
    return torch.cat([use(_head(model, hidden[at : at + most]), at) for at in range(0, len(hidden), most)])


def _hidden(model: nn.Module, ids: Tensor, places: Tensor, work: Pass) -> Tensor:
    """(B, T, H), behind every token."""
    found: Tensor = causal_lm(model).get_decoder()(input_ids=ids, position_ids=places, use_cache=False, slots=work)[0]
    return found


def _head(model: nn.Module, hidden: Tensor) -> Tensor:
    """(N, V) logits of (N, H)."""
    inner = causal_lm(model)
    logits: Tensor = inner.get_output_embeddings()(hidden)
    cap = getattr(inner.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows as (B, T), filled up on the right with their own last token."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows])
