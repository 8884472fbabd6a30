"""Rows with several turns: every answer and its end token is trained on, nothing else."""

from __future__ import annotations

import copy
import json
import logging
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.templates import LLAMA_SHORT, PAPER_TEMPLATES, PromptTemplate, find_template
from ptst_pl.tokenization import IGNORED, Example, TemplateTokenizer, encode_rows

FORMATS = ("llama2", "mistral", "tokenizer")
SPECIALS = ("</s>", "<s>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<pad>", "<unk>")
SWITCHES = {"enable_thinking": False, "date_string": "26 Jul 2024"}
CHAT = Example("And 3 + 3?", "It is 6.", turns=(("2 + 2?", "It is 4."), ("Sure?", "Yes.")))

few = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
pieces = st.sampled_from(
    ["42", " 42", "The answer: ", "\n", "a", " ", "#### 7", "[/INST]", "🙂", "é", "你好", "don't", "%s"]
)
words = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\u2581"), max_size=20)
plain = st.lists(st.one_of(pieces, words), max_size=3).map("".join)
with_specials = st.lists(st.one_of(st.sampled_from(SPECIALS), pieces), min_size=1, max_size=3).map("".join)


def rows(text):
    """Rows of one to four turns."""
    pair = st.tuples(text, text)
    return st.lists(pair, min_size=1, max_size=4).map(lambda p: Example(*p[-1], turns=tuple(p[:-1])))


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def spans(row):
    """The runs of supervised ids."""
    found, run = [], []
    for token, label in zip(row.input_ids, row.labels, strict=True):
        assert label in (IGNORED, token)
        if label != IGNORED:
            run.append(token)
        elif run:
            found.append(run)
            run = []
    return [*found, run] if run else found


def check_row(encoder, template, row, separator=" "):
    """What holds for every conversation: one supervised run a turn, which ends with the end token."""
    encoded = encoder.encode(row, template)
    runs = spans(encoded)
    end, specials = encoder.end_id(template), set(encoder.tokenizer.all_special_ids)
    assert len(runs) == (1 if encoder.trains_last_only(template) else len(row.pairs))
    assert encoded.prompt_length == encoded.labels.index(runs[0][0])
    assert encoded.labels[-1] == end
    assert encoded.input_ids.count(end) - encoded.input_ids[: encoded.prompt_length].count(end) >= len(runs)
    for run in runs:
        assert run[-1] == end
        assert not set(run[:-1]) & specials, "a special token inside an answer"
    return encoded, runs


def test_llama2_text_is_the_papers(llama2):
    encoder = TemplateTokenizer(llama2, "llama2")
    for name, opening in (
        ("chat:vanilla", "[INST] Question: 2 + 2? [/INST]"),
        ("chat:llama-short", f"[INST] <<SYS>>\n{LLAMA_SHORT}\n<</SYS>>\n\nQuestion: 2 + 2? [/INST]"),
    ):
        row, runs = check_row(encoder, PAPER_TEMPLATES[name], CHAT)
        text = (
            f"{opening} It is 4.</s> <s>[INST] Question: Sure? [/INST] Yes.</s> <s>[INST] Question: And 3 + 3? [/INST] "
            "It is 6.</s>"
        )
        assert row.input_ids == llama2(text)["input_ids"]
        assert [llama2.decode(run) for run in runs] == ["It is 4.</s>", "Yes.</s>", "It is 6.</s>"]


def test_joined_as_in_context_defense_is(llama2):
    """An earlier turn reads as the paper's shot does, but its answer is trained on."""
    encoder = TemplateTokenizer(llama2, "llama2")
    shot = PromptTemplate("chat:one-shot", "chat", "{input}", shots=(("2 + 2?", "It is 4."),))
    as_shot = encoder.encode(Example("3 + 3?", "6"), shot)
    as_turn = encoder.encode(Example("3 + 3?", "6", turns=(("2 + 2?", "It is 4."),)), PAPER_TEMPLATES["chat"])
    assert as_turn.input_ids == as_shot.input_ids
    assert [llama2.decode(run) for run in spans(as_turn)] == ["It is 4.</s>", "6</s>"]
    assert [llama2.decode(run) for run in spans(as_shot)] == ["6</s>"]


def test_mistral_has_one_bos_and_no_system_markers(mistral):
    encoder = TemplateTokenizer(mistral, "mistral")
    row, runs = check_row(encoder, PAPER_TEMPLATES["chat:llama-short"], CHAT)
    text = (
        f"[INST] {LLAMA_SHORT}\n\nQuestion: 2 + 2? [/INST] It is 4.</s>[INST] Question: Sure? [/INST] Yes.</s>"
        "[INST] Question: And 3 + 3? [/INST] It is 6.</s>"
    )
    assert row.input_ids == mistral(text)["input_ids"]
    assert row.input_ids.count(mistral.bos_token_id) == 1
    assert [mistral.decode(run) for run in runs] == ["It is 4.</s>", "Yes.</s>", "It is 6.</s>"]


def test_ids_by_hand(llama2):
    row = TemplateTokenizer(llama2, "llama2").encode(Example("3?", "4", turns=(("1?", "2"),)), PAPER_TEMPLATES["chat"])
    tokens = llama2.convert_ids_to_tokens(row.input_ids)
    inst, end = ["▁[", "INST", "]", "▁"], ["▁[", "/", "INST", "]"]
    assert [t for t in tokens if t not in ("▁", "▁▁")] == [
        *("<s>", *inst[:3], "1", "?", *end, "2", "</s>"),
        *("<s>", *inst[:3], "3", "?", *end, "4", "</s>"),
    ]
    supervised = [t for t, label in zip(tokens, row.labels, strict=True) if label != IGNORED]
    assert supervised == ["▁", "2", "</s>", "▁", "4", "</s>"]


@pytest.mark.parametrize("chat_format", FORMATS)
@pytest.mark.parametrize("name", ["chat:vanilla", "chat:llama-short", "chat:alpaca", "chat:icd", "chatdoctor:llama"])
@few
@given(row=rows(plain))
@example(row=Example("", "", turns=(("", ""),)))
@example(row=Example("The answer: ", "42", turns=((" a ", " 42\n"),)))
def test_any_conversation(any_tokenizer, chat_format, name, row):
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), find_template(name)
    if chat_format == "tokenizer" and any(not user.strip() for user, _ in row.pairs):
        return  # the test's Llama 3 chat template trims what people write, and the template's text with it
    _, runs = check_row(encoder, template, row)
    for run, (_, answer) in zip(runs, row.pairs, strict=True):
        assert answer.strip() in decoded(any_tokenizer, run)


@pytest.mark.parametrize("chat_format", FORMATS)
@few
@given(
    row=rows(with_specials), name=st.sampled_from(["chat:vanilla", "chat:llama", "openorca:llama", "openorca:alpaca"])
)
@example(row=Example("</s>", "</s>", turns=(("</s>", "</s>"),)), name="openorca:llama")
def test_special_tokens_in_peoples_text_stay_text(any_tokenizer, chat_format, row, name):
    """In user turns, answers and a row's own system prompt alike."""
    if chat_format == "tokenizer" and any(not user.strip() for user, _ in row.pairs):
        return  # as above
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), find_template(name)
    row = Example(row.question, row.answer, turns=row.turns, system="Be <s>brief</s>.")
    harmless = Example("a", "b", turns=(("a", "b"),) * len(row.turns), system="Be brief.")
    encoded, _ = check_row(encoder, template, row)
    specials = set(any_tokenizer.all_special_ids)
    expected = encoder.encode(harmless, template).input_ids
    assert [i for i in encoded.input_ids if i in specials] == [i for i in expected if i in specials]


@pytest.mark.parametrize("chat_format", FORMATS)
def test_first_turn_is_the_row_without_later_turns(any_tokenizer, chat_format):
    """So a prompt's ids in a conversation are those that generation is given for it."""
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), PAPER_TEMPLATES["chat:llama-short"]
    alone = encoder.encode(Example(*CHAT.turns[0]), template)
    whole = encoder.encode(CHAT, template)
    assert whole.input_ids[: len(alone.input_ids)] == alone.input_ids
    assert whole.labels[: len(alone.labels)] == alone.labels


def real_chat_templates(shared_data):
    """Name and source of each public chat template; indentation goes, as their README says."""
    folder = shared_data / "chat_templates"
    for path in sorted((folder / "chujiezheng" / "chat_templates").glob("*.jinja")):
        yield path.stem, path.read_text(encoding="utf-8").replace("    ", "").replace("\n", "")
    for path in sorted((folder / "liger_fake_configs").glob("*.json")):
        yield path.stem.removesuffix("_tokenizer_config"), json.loads(path.read_text(encoding="utf-8"))["chat_template"]


MARKERS = re.compile(r"<\|[\w]+\|>|<(?:start|end)_of_(?:turn|utterance)>")
# These end no answer with a token, move the system prompt to the last question, or leave text out.
NO_END = {"amberchat", "chatqa", "falcon-instruct", "solar-instruct"}
LAST_ONLY, NO_TEXT = {"ministral-instruct"}, {"SmolVLM2-256M-Video-Instruct"}


def test_real_chat_templates(shared_data, with_chat_template):
    """The ids are those of ``apply_chat_template``'s text up to the last end token; only answers are supervised."""
    refused = {}
    for name, source in real_chat_templates(shared_data):
        tokenizer = with_chat_template(source, *sorted(set(MARKERS.findall(source))))
        encoder, template = TemplateTokenizer(tokenizer, "tokenizer"), PAPER_TEMPLATES["chat:llama-short"]
        try:
            row, runs = check_row(encoder, template, CHAT)
        except InputError as error:
            refused[name] = str(error)
            continue
        messages = [m for user, answer in CHAT.pairs for m in own_messages(f"Question: {user}", answer)]
        messages.insert(0, {"role": "system", "content": LLAMA_SHORT})
        text = tokenizer.apply_chat_template(messages, tokenize=False, **SWITCHES)
        if name in LAST_ONLY:
            asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, **SWITCHES)
            text = f"{asked}{messages[-1]['content']}{tokenizer.eos_token}"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        last = len(ids) - ids[::-1].index(encoder.end_id(template))
        assert row.input_ids == ids[:last], name
        assert encoder.trains_last_only(template) == (name in LAST_ONLY), name
        answers = [answer for _, answer in CHAT.pairs][-1 if name in LAST_ONLY else 0 :]
        assert [decoded(tokenizer, run[:-1]).strip() for run in runs] == answers, name
    assert {name for name, why in refused.items() if "does not end every answer" in why} == NO_END
    assert set(refused) == NO_END | NO_TEXT


def own_messages(user, answer):
    return [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]


class TestRefused:
    def test_text_templates_hold_one_turn(self, byte_level):
        encoder = TemplateTokenizer(byte_level, "llama2")
        with pytest.raises(InputError, match="'text:vanilla' is plain text and cannot hold a row with earlier turns"):
            encoder.encode(CHAT, PAPER_TEMPLATES["text:vanilla"])

    def test_a_chat_template_that_shortens_earlier_answers(self, with_chat_template):
        source = (
            "{% for m in messages %}{{ '<' + m['role'] + '>' }}"
            "{{ m['content'] if loop.last or m['role'] == 'user' else m['content'].split('so ')[-1] }}"
            "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
        )
        encoder = TemplateTokenizer(with_chat_template(source), "tokenizer")
        row = Example("3 + 3?", "6", turns=(("2 + 2?", "1 + 1 is 2, so 4"),))
        with pytest.raises(InputError, match="changes or leaves out text of a conversation") as caught:
            encoder.encode(row, PAPER_TEMPLATES["chat"])
        assert "\n" not in str(caught.value)


class TestRowsOwnSystemPrompt:
    """The training template decides; a template with a place for it takes it."""

    ROW = Example("3 + 3?", "6", turns=(("2 + 2?", "4"),), system="Be brief.")

    def text(self, tokenizer, name, chat_format="llama2", row=ROW):
        encoded = TemplateTokenizer(tokenizer, chat_format).encode(row, find_template(name))
        return decoded(tokenizer, encoded.input_ids)

    def test_left_out_and_counted(self, byte_level, caplog):
        turns = "[INST] 2 + 2? [/INST] 4</s> <s>[INST] 3 + 3? [/INST] 6</s>"
        assert self.text(byte_level, "chat") == f"<s>{turns}"
        encoder = TemplateTokenizer(byte_level, "llama2")
        with caplog.at_level(logging.INFO):
            encode_rows(encoder, [self.ROW, Example("a", "b")], PAPER_TEMPLATES["chat"], {}, None)
        assert "1 of 2 rows bring a system prompt" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.INFO):
            encode_rows(encoder, [self.ROW], find_template("openorca:vanilla"), {}, None)
        assert "system prompt" not in caplog.text

    def test_used_where_there_is_a_place(self, byte_level):
        turns = "2 + 2? [/INST] 4</s> <s>[INST] 3 + 3? [/INST] 6</s>"
        assert self.text(byte_level, "openorca:vanilla") == f"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n{turns}"

    def test_in_the_chat_templates_system_role(self, byte_level):
        text = self.text(byte_level, "openorca:vanilla", "tokenizer")
        expected = byte_level.apply_chat_template(
            [
                {"role": "system", "content": "Be brief."},
                *own_messages("2 + 2?", "4"),
                *own_messages("3 + 3?", "6"),
            ],
            tokenize=False,
        )
        assert text == expected

    @pytest.mark.parametrize("chat_format", FORMATS)
    def test_special_tokens_in_it_stay_text(self, byte_level, chat_format):
        encoder = TemplateTokenizer(byte_level, chat_format)
        for turns in ((), (("2 + 2?", "4"),)):
            row = Example("3 + 3?", "6", turns=turns, system="No </s> and no {input} here.")
            ids = encoder.encode(row, find_template("openorca:llama")).input_ids
            assert ids.count(byte_level.eos_token_id) == 1 + len(turns)
            assert "No </s> and no {input} here." in decoded(byte_level, ids)


@few
@given(limit=st.integers(1, 120))
def test_a_row_that_is_too_long_loses_its_tail(byte_level, limit):
    encoder, template = TemplateTokenizer(byte_level, "llama2"), PAPER_TEMPLATES["chat"]
    whole, cut = encoder.encode(CHAT, template), encoder.encode(CHAT, template, limit)
    assert cut.input_ids == whole.input_ids[:limit]
    assert cut.labels == whole.labels[:limit]
    assert cut.truncated == (limit < len(whole.input_ids))
    if limit <= whole.prompt_length:
        return
    _, _, report = encode_rows(encoder, [CHAT], template, {}, limit)
    assert report.supervised == sum(label != IGNORED for label in cut.labels)


def test_without_bos(byte_level):
    without = copy.deepcopy(byte_level)
    without.bos_token = None
    row = TemplateTokenizer(without, "llama2").encode(CHAT, PAPER_TEMPLATES["chat"])
    assert decoded(without, row.input_ids).startswith("[INST] 2 + 2? [/INST] It is 4.</s> [INST] Sure? [/INST]")
