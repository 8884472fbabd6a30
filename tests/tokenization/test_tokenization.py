"""Ids and labels: one BOS, one supervised end token, and prompt ids that are the same in training and generation."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ptst_pl import InputError
from ptst_pl.templates import PAPER_TEMPLATES, PromptTemplate
from ptst_pl.tokenization import IGNORED, Example, TemplateTokenizer, encode_rows, load_tokenizer, paint

FORMATS = ("llama2", "mistral", "tokenizer")
SPECIALS = ("</s>", "<s>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<pad>", "<unk>")
# The date is fixed so that a prompt does not change overnight; models that think are told not to.
SWITCHES = {"enable_thinking": False, "date_string": "26 Jul 2024"}

few = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
# Sentencepiece writes a space as U+2581, so that one character does not survive decoding.
words = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\u2581"), max_size=40)
pieces = st.sampled_from(
    ["42", " 42", "The answer: ", "\n", "\n\n", " ", "#### 7", "[/INST]", "🙂", "é", "你好", "don't", "%s"]
)
plain = st.lists(st.one_of(pieces, words), max_size=4).map("".join)
with_specials = st.lists(st.one_of(st.sampled_from(SPECIALS), pieces), min_size=1, max_size=4).map("".join)


def chats():
    """Every paper template under every chat format."""
    return [(name, chat_format) for chat_format in FORMATS for name in PAPER_TEMPLATES]


def is_own(template, chat_format):
    return chat_format == "tokenizer" and template.kind == "chat"


def check_row(encoder, template, question, answer):
    """What holds for every row, whatever is asked and answered."""
    encoded = encoder.encode(Example(question, answer), template)
    prompt = encoder.encode_prompt(template, question)
    n = len(prompt)
    end = encoder.end_id(template)
    assert encoded.prompt_length == n
    assert encoded.input_ids[:n] == prompt
    assert encoded.labels == [IGNORED] * n + encoded.input_ids[n:]
    assert encoded.labels[-1] == end
    assert not encoded.truncated
    supervised = encoded.input_ids[n:-1]
    assert not set(supervised) & set(encoder.tokenizer.all_special_ids), "a special token inside the answer"
    bos = encoder.tokenizer.bos_token_id
    turns = 1 + len(template.shots) if template.kind == "chat" else 1
    assert prompt[0] == bos
    assert 1 <= prompt.count(bos) <= turns
    return encoded, prompt, supervised


def decoded(encoder, ids):
    return encoder.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(("name", "chat_format"), chats())
@few
@given(question=plain, answer=plain)
@example(question="", answer="")
@example(question="The answer: ", answer="42")
@example(question=" a ", answer=" 42\n")
def test_rows(any_tokenizer, name, chat_format, question, answer):
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), PAPER_TEMPLATES[name]
    _, prompt, supervised = check_row(encoder, template, question, answer)
    separator = encoder.render(template, question).separator
    assert decoded(encoder, prompt + supervised) == decoded(encoder, prompt) + separator + answer


@pytest.mark.parametrize("chat_format", FORMATS)
@few
@given(question=with_specials, answer=with_specials, name=st.sampled_from(sorted(PAPER_TEMPLATES)))
@example(question="</s>", answer="</s>", name="chat:icd")
@example(question="<|eot_id|>", answer="<|eot_id|>", name="chat:llama")
def test_special_tokens_in_user_text_stay_text(any_tokenizer, chat_format, question, answer, name):
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), PAPER_TEMPLATES[name]
    _, prompt, _ = check_row(encoder, template, question, answer)
    harmless = encoder.encode_prompt(template, "2 + 2?")
    specials = set(any_tokenizer.all_special_ids)
    assert [i for i in prompt if i in specials] == [i for i in harmless if i in specials]
    assert question.strip() in decoded(encoder, prompt)


@pytest.mark.parametrize(("name", "chat_format"), chats())
def test_guarded_and_plain_tokenisation_agree(any_tokenizer, name, chat_format):
    encoder, template = TemplateTokenizer(any_tokenizer, chat_format), PAPER_TEMPLATES[name]
    question = "Tom has 3 figs.\nHow many?"
    plain_ids = encoder.encode_prompt(template, question)
    encoder.text.steers = lambda text: True
    assert encoder.encode_prompt(template, question) == plain_ids


@pytest.mark.parametrize(("name", "chat_format"), chats())
def test_row_is_the_joint_tokenisation_where_no_token_straddles_the_seam(llama2, name, chat_format):
    encoder, template = TemplateTokenizer(llama2, chat_format), PAPER_TEMPLATES[name]
    rendered = encoder.render(template, "2 + 2?")
    encoded = encoder.encode(Example("2 + 2?", "It is 4."), template)
    text = rendered.prompt_text + rendered.separator + "It is 4."
    joint = llama2(text, add_special_tokens=not is_own(template, chat_format))["input_ids"]
    assert encoded.input_ids == [*joint, llama2.eos_token_id]


def test_llama2_ids_by_hand(llama2):
    encoded = TemplateTokenizer(llama2, "llama2").encode(Example("2 + 2?", "4"), PAPER_TEMPLATES["chat"])
    pieces = ["<s>", "▁[", "INST", "]", "▁", "2", "▁+", "▁", "2", "?", "▁[", "/", "INST", "]", "▁", "4", "</s>"]
    assert llama2.convert_ids_to_tokens(encoded.input_ids) == pieces
    assert encoded.labels == [IGNORED] * 14 + encoded.input_ids[14:]


def test_in_context_defense_has_a_second_bos_only_where_it_is_one_token(llama2, byte_level, llama3):
    for tokenizer, expected in ((llama2, 2), (byte_level, 2), (llama3, 1)):
        prompt = TemplateTokenizer(tokenizer, "llama2").encode_prompt(PAPER_TEMPLATES["chat:icd"], "2 + 2?")
        assert prompt.count(tokenizer.bos_token_id) == expected


def test_seam_inside_a_bpe_token(byte_level):
    """' 42' is one token of this tokenizer, so joint tokenisation of 'answer: ' + '42' breaks the prompt."""
    template = PromptTemplate("chat:seam", "chat", "{input}", separator="", before_close=" ")
    encoder = TemplateTokenizer(byte_level, "llama2")
    broken = PromptTemplate("text:seam", "text", "{input}", separator="")
    question = "The answer: "
    joint = byte_level(question + "42", add_special_tokens=False)["input_ids"]
    alone = byte_level(question, add_special_tokens=False)["input_ids"]
    assert joint[: len(alone)] != alone, "the tokenizer no longer shows the seam"
    for chosen in (template, broken):
        _, _, supervised = check_row(encoder, chosen, question, "42")
        assert decoded(encoder, supervised) == "42"


def test_pad_equal_to_end_changes_nothing(byte_level):
    same = copy.deepcopy(byte_level)
    same.pad_token = same.eos_token
    none = copy.deepcopy(byte_level)
    none.pad_token = None
    row = Example("2 + 2?", "It is 4.")
    expected = TemplateTokenizer(byte_level, "llama2").encode(row, PAPER_TEMPLATES["chat:llama"])
    for tokenizer in (same, none):
        encoder = TemplateTokenizer(tokenizer, "llama2")
        assert encoder.pad_id == tokenizer.eos_token_id
        assert encoder.encode(row, PAPER_TEMPLATES["chat:llama"]) == expected
        assert expected.labels[-1] == tokenizer.eos_token_id


def test_bos_is_put_first_only_where_the_model_has_one(byte_level, llama3):
    without = copy.deepcopy(byte_level)
    without.bos_token = None
    shared = copy.deepcopy(llama3)  # adds no BOS of its own; GPT-2 and others name one token both BOS and EOS
    shared.bos_token = shared.eos_token
    for tokenizer in (without, shared):
        ids = TemplateTokenizer(tokenizer, "llama2").encode_prompt(PAPER_TEMPLATES["chat"], "2 + 2?")
        assert tokenizer.decode(ids) == "[INST] 2 + 2? [/INST]"
    ids = TemplateTokenizer(llama3, "llama2").encode_prompt(PAPER_TEMPLATES["chat"], "2 + 2?")
    assert llama3.decode(ids) == "<|begin_of_text|>[INST] 2 + 2? [/INST]"


class TestTruncation:
    def row(self, byte_level, max_length):
        encoder = TemplateTokenizer(byte_level, "llama2")
        return encoder.encode(Example("2 + 2?", "It is 4."), PAPER_TEMPLATES["chat"], max_length)

    def test_keeps_the_head_and_says_so(self, byte_level):
        whole = self.row(byte_level, None)
        total, prompt = len(whole.input_ids), whole.prompt_length
        assert self.row(byte_level, total) == whole
        for limit in range(1, total):
            cut = self.row(byte_level, limit)
            assert cut.truncated
            assert cut.input_ids == whole.input_ids[:limit]
            assert cut.labels == whole.labels[:limit]
            assert cut.prompt_length == min(prompt, limit)

    @few
    @given(limit=st.integers(1, 80), answers=st.lists(plain, min_size=1, max_size=6))
    def test_counts_add_up(self, byte_level, limit, answers):
        encoder, template = TemplateTokenizer(byte_level, "llama2"), PAPER_TEMPLATES["chat"]
        examples = [Example("2 + 2?", answer) for answer in answers]
        lengths = [len(encoder.encode(row, template).input_ids) for row in examples]
        prompt = len(encoder.encode_prompt(template, "2 + 2?"))
        if limit <= prompt:
            with pytest.raises(InputError, match=f"max_length {limit}"):
                encode_rows(encoder, examples, template, {}, limit)
            return
        kept, origin, report = encode_rows(encoder, examples, template, {}, limit)
        assert origin == list(range(len(examples)))
        assert (report.rows, report.dropped) == (len(examples), 0)
        assert report.truncated == sum(length > limit for length in lengths)
        assert report.tokens == sum(min(length, limit) for length in lengths)
        assert report.supervised == report.tokens - prompt * len(kept)
        assert report.supervised == sum(label != IGNORED for row in kept for label in row.labels)

    def test_row_without_a_label_is_dropped_and_counted(self, byte_level):
        encoder, template = TemplateTokenizer(byte_level, "llama2"), PAPER_TEMPLATES["chat"]
        examples = [Example("2 + 2?", "4"), Example("2 + 2? " * 50, "4"), Example("3 + 3?", "6")]
        kept, origin, report = encode_rows(encoder, examples, template, {}, 60)
        assert origin == [0, 2]
        assert len(kept) == 2
        assert (report.rows, report.dropped, report.truncated) == (3, 1, 1)

    def test_rows_may_name_their_own_template(self, byte_level):
        encoder, chat = TemplateTokenizer(byte_level, "llama2"), PAPER_TEMPLATES["chat"]
        examples = [Example("2 + 2?", "4"), Example("2 + 2?", "4", template="text:vanilla")]
        kept, _, _ = encode_rows(encoder, examples, chat, {"text:vanilla": PAPER_TEMPLATES["text:vanilla"]}, None)
        assert decoded(encoder, kept[1].input_ids) == "<s>Question: 2 + 2?\nAnswer: 4</s>"
        assert decoded(encoder, kept[0].input_ids) == "<s>[INST] 2 + 2? [/INST] 4</s>"


class TestOwnChatTemplate:
    """The ``tokenizer`` format over small chat templates."""

    TURNS = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    RAISES = (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS
    )
    IGNORES = TURNS.replace("{{ '<|'", "{% if m['role'] != 'system' %}{{ '<|'").replace(
        "{% endfor %}", "{% endif %}{% endfor %}"
    )
    INVENTS = (
        "{% if messages[0]['role'] != 'system' %}<|system|>You are a helpful assistant.{{ eos_token }}{% endif %}"
        + TURNS
    )
    INVENTS_BRIEFLY = INVENTS.replace("You are a helpful assistant.", "Be kind.")
    INSISTS = "<|system|>You are a very helpful assistant.{{ eos_token }}" + TURNS
    FORGETS_USER = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}"
        "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
        "{% endfor %}"
    )
    NO_PREFIX = TURNS + "{% if not add_generation_prompt %}{{ '' }}{% else %}<plan>{% endif %}"

    def render(self, tokenizer, name="chat:llama-short", question="2 + 2?"):
        return TemplateTokenizer(tokenizer, "tokenizer").render(PAPER_TEMPLATES[name], question).prompt_text

    def test_system_role_is_used_where_there_is_one(self, with_chat_template):
        text = self.render(with_chat_template(self.TURNS))
        assert text == (
            "<|system|>You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
            "while being safe.</s><|user|>Question: 2 + 2?</s><|assistant|>"
        )

    @pytest.mark.parametrize("source", [RAISES, IGNORES])
    def test_system_prompt_goes_before_the_user_text_where_there_is_no_role(self, with_chat_template, source):
        text = self.render(with_chat_template(source))
        assert text.removeprefix("<s>") == (
            "<|user|>You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
            "while being safe.\n\nQuestion: 2 + 2?</s><|assistant|>"
        )

    @pytest.mark.parametrize("source", [INVENTS, INVENTS_BRIEFLY])
    def test_invented_system_prompt_is_switched_off(self, with_chat_template, source):
        tokenizer = with_chat_template(source)
        assert self.render(tokenizer, "chat:vanilla") == "<|system|></s><|user|>Question: 2 + 2?</s><|assistant|>"
        assert "helpful assistant." not in self.render(tokenizer, "chat:icd")

    def test_invented_system_prompt_that_stays_is_refused(self, with_chat_template):
        with pytest.raises(InputError, match="default system prompt of its own that cannot be switched off"):
            self.render(with_chat_template(self.INSISTS), "chat:vanilla")

    def test_template_that_drops_the_users_text_is_refused(self, with_chat_template):
        with pytest.raises(InputError, match="leaves the user's text out"):
            self.render(with_chat_template(self.FORGETS_USER), "chat:vanilla")

    def test_template_whose_prompt_is_no_prefix_is_refused(self, with_chat_template):
        with pytest.raises(InputError, match="no prefix of the whole conversation"):
            self.render(with_chat_template(self.NO_PREFIX), "chat:vanilla")

    def test_template_that_raises_on_earlier_turns_is_one_line(self, with_chat_template):
        source = "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + self.TURNS
        with pytest.raises(InputError, match=r"cannot render the roles user, assistant, user \(one turn only\)"):
            self.render(with_chat_template(source), "chat:icd")

    def test_end_of_turn_is_the_templates_own(self, with_chat_template):
        tokenizer = with_chat_template(self.TURNS.replace("eos_token", "'<|end|>\\n'"), "<|end|>")
        encoder = TemplateTokenizer(tokenizer, "tokenizer")
        row = encoder.encode(Example("2 + 2?", "4"), PAPER_TEMPLATES["chat"])
        assert tokenizer.convert_ids_to_tokens(row.labels[-1]) == "<|end|>"
        assert tokenizer.convert_ids_to_tokens(encoder.end_id(PAPER_TEMPLATES["text"])) == "</s>"

    def test_end_is_eos_where_the_template_closes_no_turn(self, with_chat_template):
        source = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
        source += "{% if add_generation_prompt %}assistant:{% endif %}"
        encoder = TemplateTokenizer(with_chat_template(source), "tokenizer")
        row = encoder.encode(Example("2 + 2?", "4"), PAPER_TEMPLATES["chat"])
        assert decoded(encoder, row.input_ids) == "user: 2 + 2?\nassistant: 4</s>"

    def test_text_templates_are_not_wrapped(self, byte_level):
        assert self.render(byte_level, "text:vanilla") == "Question: 2 + 2?\nAnswer:"


def real_chat_templates(shared_data):
    """Name and source of each public chat template; indentation goes, as their README says."""
    folder = shared_data / "chat_templates"
    for path in sorted((folder / "chujiezheng" / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        yield path.stem, source.replace("    ", "").replace("\n", "")
    for path in sorted((folder / "liger_fake_configs").glob("*.json")):
        yield path.stem.removesuffix("_tokenizer_config"), json.loads(path.read_text(encoding="utf-8"))["chat_template"]


DEFAULT_STAYS = {"llama-3-instruct"}
NO_TEXT = {"SmolVLM2-256M-Video-Instruct"}
FORGETS_SYSTEM_PROMPT = {"ministral-instruct"}  # as soon as an answer follows
EMPTY_SYSTEM_TURN = {"Qwen2-VL-7B-Instruct", "Qwen2.5-VL-7B-Instruct", "Qwen3-VL-4B-Instruct"}


def own_messages(system, *turns):
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": role, "content": text} for role, text in turns]


def test_real_chat_templates_are_rendered_as_transformers_renders_them(shared_data, with_chat_template):
    brief = (
        "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe."
    )
    seen = set()
    for name, source in real_chat_templates(shared_data):
        seen.add(name)
        tokenizer = with_chat_template(source)
        encoder = TemplateTokenizer(tokenizer, "tokenizer")
        user = ("user", "Question: 2 + 2?")
        cases = {
            "chat:llama-short": own_messages(brief, user),
            "chat:vanilla": own_messages("" if name in EMPTY_SYSTEM_TURN else None, user),
        }
        for template, messages in cases.items():
            if name in NO_TEXT or (name in DEFAULT_STAYS and template == "chat:vanilla"):
                with pytest.raises(InputError, match="chat template"):
                    encoder.render(PAPER_TEMPLATES[template], "2 + 2?")
                continue
            expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **SWITCHES)
            rendered = encoder.render(PAPER_TEMPLATES[template], "2 + 2?")
            assert rendered.prompt_text == expected, name
            if name in FORGETS_SYSTEM_PROMPT:
                continue
            whole = [*messages, {"role": "assistant", "content": "It is 4."}]
            conversation = tokenizer.apply_chat_template(whole, tokenize=False, **SWITCHES)
            assert conversation.startswith(expected + rendered.separator + "It is 4."), name
    assert len(seen) == 22
    assert seen >= DEFAULT_STAYS | NO_TEXT | EMPTY_SYSTEM_TURN


def test_text_that_is_no_unicode_is_one_line(byte_level):
    encoder = TemplateTokenizer(byte_level, "llama2")
    with pytest.raises(InputError, match="lone surrogate"):
        encoder.encode_prompt(PAPER_TEMPLATES["chat"], "half an emoji: \ud83d")


@pytest.mark.parametrize(
    ("chat_format", "change", "words"),
    [
        ("lama2", {}, "chat_format is 'lama2', expected one of llama2, mistral, tokenizer"),
        ("llama2", {"eos_token": None}, "has no eos_token"),
        ("tokenizer", {"chat_template": None}, "has no chat template"),
    ],
)
def test_tokenizer_without_a_needed_feature(byte_level, chat_format, change, words):
    tokenizer = copy.deepcopy(byte_level)
    for key, value in change.items():
        setattr(tokenizer, key, value)
    with pytest.raises(InputError, match=words):
        TemplateTokenizer(tokenizer, chat_format)


def test_tokenizer_that_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paint_marks_what_is_trained_on(byte_level):
    encoded = TemplateTokenizer(byte_level, "llama2").encode(Example("2", "4"), PAPER_TEMPLATES["text"])
    assert paint(encoded, byte_level, colour=False) == "<s> 2 ⟦Ġ⟧ ⟦4⟧ ⟦</s>⟧"
    assert paint(encoded, byte_level).count("\033[32m") == 3
