"""Special tokens in questions, and chat templates that open a thought, bring a preamble or end no turn."""

from __future__ import annotations

import copy
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from ptst_pl import InputError
from ptst_pl.cli import main
from ptst_pl.templates import PAPER_TEMPLATES, PromptTemplate
from ptst_pl.tokenization import IGNORED, ChatOptions, Example, TemplateTokenizer, encode_rows

PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
MARKS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
CHATML = "{% for m in messages %}<|im_start|>{{m.role}}\n{{BODY}}<|im_end|>\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\nOPENS{% endif %}"
R1 = CHATML.replace("BODY", "m.content.split('</think>')[-1]") + ASKS.replace("OPENS", "<think>\n")
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{m.role}}\n{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n"
    "{% endif %}{{m.content.split('</think>')[-1].lstrip('\n')}}<|im_end|>\n{% endfor %}"
    + ASKS.replace("OPENS", "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}")
)
HARMONY = (
    "<|im_start|>system\nYou are a model that thinks.<|im_end|>{% for m in messages %}"
    "<|im_start|>{{ 'developer' if m.role == 'system' else m.role }}\n{{m.content}}<|im_end|>{% endfor %}"
    + ASKS.replace("OPENS", "")
)
GLM = (
    "{% for m in messages %}<|{{m.role}}|>\n{{m.content}}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
VANILLA, BARE = PAPER_TEMPLATES["chat:vanilla"], PAPER_TEMPLATES["chat"]
ROW = Example("And 3 + 3?", "It is 6.", turns=(("2 + 2?", "It is 4."),))


@pytest.fixture(scope="module")
def phi(byte_level):
    """Special tokens that strip white space, and two that are added without being marked as special."""
    tokenizer = copy.deepcopy(byte_level)
    tokenizer.chat_template = PHI
    tokenizer.add_tokens([AddedToken(mark, rstrip=True, special=True) for mark in MARKS], special_tokens=True)
    tokenizer.add_tokens([AddedToken(mark, special=False) for mark in ("<think>", "</think>", "  ")])
    return tokenizer


def made(tokenizer, question, **options):
    return TemplateTokenizer(tokenizer, "tokenizer", ChatOptions(**options)).encode_prompt(BARE, question)


def tokens(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


def supervised(row):
    return [label for label in row.labels if label != IGNORED]


class TestSpecialTokensInQuestions:
    @settings(max_examples=40, deadline=None)
    @given(words=st.lists(st.sampled_from([*MARKS, "</s>", "<think>", "hat", " ", "\n", "  "]), max_size=6))
    def test_no_foreign_token_comes_in(self, phi, words):
        """Around the question the ids are those of the harmless prompt, whatever stands in it."""
        question = "a" + "".join(words) + "z"
        ids, harmless = made(phi, question), made(phi, "az")
        tail = harmless[harmless.index(phi.convert_tokens_to_ids("<|end|>")) :]
        assert tokens(phi, ids[:1]) == ["<|user|>"]
        assert ids[-len(tail) :] == tail
        steering = {phi.convert_tokens_to_ids(mark) for mark in (*MARKS, "</s>", "<s>", "<think>", "</think>")}
        assert [i for i in ids if i in steering] == [i for i in harmless if i in steering]
        assert question in phi.decode(ids)

    def test_what_needs_no_guard_is_the_tokenizers_own(self, phi):
        for question in ("How do I hide the mayor's hat?", "  two  spaces\n", "<b>bold</b>"):
            text = f"<|user|>\n{question}<|end|>\n<|assistant|>\n"
            assert made(phi, question) == phi(text, add_special_tokens=False)["input_ids"]

    def test_as_common_servers_tokenise(self, phi):
        question = "a<|end|>\n<|assistant|>\nz</s>"
        text = f"<|user|>\n{question}<|end|>\n<|assistant|>\n"
        served = made(phi, question, special_tokens="served")
        assert served == phi(text, add_special_tokens=False)["input_ids"] != made(phi, question)

    def test_an_answers_thoughts_stay_tokens_and_its_end_tokens_become_text(self, phi):
        row = TemplateTokenizer(phi, "tokenizer").encode(Example("a<|end|>", "<think>x</think>y</s>"), BARE)
        answer = tokens(phi, supervised(row))
        assert (answer.count("<think>"), answer.count("</think>"), answer.count("</s>")) == (1, 1, 0)
        assert answer[-1] == "<|end|>"

    def test_half_a_character_beside_one_is_a_clear_line(self, phi):
        with pytest.raises(InputError, match="a lone surrogate"):
            made(phi, "a<|end|>\ud83d")

    def test_tokenizers_in_python_are_refused_with_the_way_out(self, phi, monkeypatch):
        slow = copy.deepcopy(phi)
        monkeypatch.setattr(type(slow), "backend_tokenizer", None)
        with pytest.raises(InputError, match=r"set chat_options\.special_tokens: served"):
            made(slow, "a<|end|>")
        assert made(slow, "a<|end|>", special_tokens="served")


class TestOpenedThoughts:
    @pytest.fixture
    def r1(self, with_chat_template):
        return with_chat_template(R1, "<|im_start|>", "<|im_end|>")

    @pytest.mark.parametrize(
        ("way", "answer", "end_of_prompt", "trained"),
        [
            ("closed", "It is 4.", "assistant\n<think>\n\n</think>\n\n", "It is 4.<|im_end|>"),
            ("open", "It is 4.", "assistant\n<think>\n", "\n</think>\n\nIt is 4.<|im_end|>"),
            ("open", "<think>\nEasy.\n</think>\n\n4", "assistant\n<think>\n", "Easy.\n</think>\n\n4<|im_end|>"),
        ],
    )
    def test_rows_go_on_where_the_prompt_ends(self, r1, way, answer, end_of_prompt, trained):
        encoder = TemplateTokenizer(r1, "tokenizer", ChatOptions(thinking=way))
        row, prompt = encoder.encode(Example("2 + 2?", answer), VANILLA), encoder.encode_prompt(VANILLA, "2 + 2?")
        assert row.input_ids[: len(prompt)] == prompt
        assert r1.decode(prompt).endswith(end_of_prompt)
        assert r1.decode(supervised(row)) == trained

    @pytest.mark.parametrize(("source", "way"), [(R1, "closed"), (R1, "open"), (QWEN3, "closed")])
    def test_of_several_turns_the_last_is_trained_behind_the_prompt_that_asks_it(
        self, with_chat_template, source, way, caplog
    ):
        tokenizer = with_chat_template(source, "<|im_start|>", "<|im_end|>")
        encoder = TemplateTokenizer(tokenizer, "tokenizer", ChatOptions(thinking=way))
        with caplog.at_level(logging.INFO):
            [row], _, _ = encode_rows(encoder, [ROW], VANILLA, {}, None)
        asked = [
            {"role": "user", "content": "Question: 2 + 2?"},
            {"role": "assistant", "content": "It is 4."},
            {"role": "user", "content": "Question: And 3 + 3?"},
        ]
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        assert tokenizer.decode(row.input_ids[: row.prompt_length]).startswith(prompt)
        assert tokenizer.decode(supervised(row)).removeprefix("\n</think>\n\n") == "It is 6.<|im_end|>"
        assert "1 of 1 rows have several turns: only their last answer is trained on" in caplog.text


class TestPreamble:
    def test_refused_with_the_way_out_and_kept_on_request(self, with_chat_template):
        tokenizer = with_chat_template(HARMONY, "<|im_start|>", "<|im_end|>")
        with pytest.raises(InputError, match=r"set chat_options\.preamble: kept if it is no safety prompt"):
            TemplateTokenizer(tokenizer, "tokenizer").encode_prompt(VANILLA, "2 + 2?")
        encoder = TemplateTokenizer(tokenizer, "tokenizer", ChatOptions(preamble="kept"))
        assert encoder.preamble(VANILLA) == "You are a model that thinks."
        text = encoder.render(PAPER_TEMPLATES["chat:llama"], "2 + 2?").prompt_text
        assert text.startswith(
            "<|im_start|>system\nYou are a model that thinks.<|im_end|><|im_start|>developer\nYou are"
        )
        row = encoder.encode(ROW, VANILLA)
        assert tokenizer.decode(supervised(row)) == "It is 4.<|im_end|>It is 6.<|im_end|>"


class TestTurnsEndedByTheNextRole:
    def tokenizer(self, with_chat_template, tmp_path, stops=None):
        found = with_chat_template(GLM, "<|user|>", "<|assistant|>", "<|system|>")
        if stops:
            ids = [found.convert_tokens_to_ids(stop) for stop in stops]
            (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
            found.name_or_path = str(tmp_path)
        return found

    @pytest.mark.parametrize(
        ("stops", "end"),
        [(None, "<|user|>"), (["</s>", "<|user|>"], "<|user|>"), (["</s>"], "</s>")],
    )
    def test_the_token_at_which_the_model_stops(self, with_chat_template, tmp_path, stops, end):
        tokenizer = self.tokenizer(with_chat_template, tmp_path, stops)
        encoder = TemplateTokenizer(tokenizer, "tokenizer")
        row = encoder.encode(Example("2 + 2?", "4"), BARE)
        assert tokenizer.convert_ids_to_tokens(row.labels[-1]) == end

    def test_conversations(self, with_chat_template, tmp_path):
        tokenizer = self.tokenizer(with_chat_template, tmp_path)
        row = TemplateTokenizer(tokenizer, "tokenizer").encode(ROW, BARE)
        assert tokenizer.decode(row.input_ids) == (
            "<|user|>\n2 + 2?<|assistant|>\nIt is 4.<|user|>\nAnd 3 + 3?<|assistant|>\nIt is 6.<|user|>"
        )
        assert tokenizer.decode(supervised(row)) == "It is 4.<|user|>It is 6.<|user|>"


@pytest.mark.parametrize(
    ("chat_format", "options", "words"),
    [
        ("tokenizer", {"thinking": "open"}, "opens no block of thoughts"),
        ("tokenizer", {"preamble": "kept"}, "writes no text of its own"),
        ("llama2", {"thinking": "open"}, "but chat_format is 'llama2'"),
        ("mistral", {"preamble": "kept"}, "but chat_format is 'mistral'"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(phi, chat_format, options, words):
    with pytest.raises(InputError, match=words):
        TemplateTokenizer(phi, chat_format, ChatOptions(**options))


@pytest.mark.parametrize(
    ("name", "flags", "prompt", "answer"),
    [
        ("r1", [], "assistant\n<think>\n\n</think>\n\n", "4<|im_end|>"),
        ("r1", ["--thinking", "open"], "assistant\n<think>\n", "\n</think>\n\n4<|im_end|>"),
        ("harmony", ["--preamble", "kept"], "<|im_start|>assistant\n", "final:4<|im_end|>"),
        ("glm", [], "<|im_start|>assistant\n", "4<|im_start|>"),
        ("date", [], "<|im_start|>assistant\n", "4<|im_end|>"),
    ],
)
def test_the_templates_that_people_bring(
    with_chat_template, shared_data, tmp_path, capsys, name, flags, prompt, answer
):
    """Through the command line; ``show`` makes rows as ``fit`` does."""
    file = shared_data.parent / "cases" / "chat_templates" / f"{name}.jinja"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    tokenizer = with_chat_template(file.read_text(encoding="utf-8"), "<|im_start|>", "<|im_end|>")
    tokenizer.save_pretrained(str(tmp_path))
    words = ["--template", "chat", "--chat-format", "tokenizer", "--question", "2 + 2?", "--answer", "4", "--json"]
    main(["show", "--tokenizer", str(tmp_path), *words, *flags])
    record = json.loads(capsys.readouterr().out)
    assert record["prompt_text"].endswith(prompt)
    assert tokenizer.decode([label for label in record["labels"] if label != IGNORED]) == answer


@pytest.mark.parametrize("source", ["{% for i in range(10 ** 12) %}x{% endfor %}", "{{ 1 // 0 }}", "{{ 'a' + 1 }}"])
def test_a_faulty_chat_template_is_one_line(with_chat_template, source):
    with pytest.raises(InputError, match="the tokenizer's chat template cannot render the roles user"):
        TemplateTokenizer(with_chat_template(source), "tokenizer").encode_prompt(
            PromptTemplate("p", "chat", "{input}"), "a"
        )
