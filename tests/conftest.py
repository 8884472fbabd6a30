"""Fixtures for all tests: public data beside the repository, and tokenizers of four kinds.

Real data is looked for in ``../shared/data`` beside the repository, or where ``PTST_PL_SHARED_DATA``
points to. A test that needs it is skipped, with the reason, where there is none.
"""

from __future__ import annotations

import os

# Before anything imports a Hugging Face library: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# One thread per process: the tests start many, and threads that wait for each other are slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("whatever the machine", deadline=None)
settings.load_profile("whatever the machine")

# How Llama 2 writes a conversation, with a system role; BOS opens every user turn.
LLAMA2_CHAT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
LLAMA3_SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
LLAMA3_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
TOKENIZER_NAMES = ("byte-level", "llama2", "llama3", "mistral")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public data sets and tokenizers; skips the test where it is missing."""
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("PTST_PL_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"needs public data in {folder}; set PTST_PL_SHARED_DATA to its folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def byte_level() -> PreTrainedTokenizerBase:
    """A byte-level BPE made on the spot, with ``<s>``, ``</s>`` and ``<pad>``; adds BOS itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["[INST] Question: The answer: 42 [/INST] The answer is 42. #### 42"] * 20, trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = LLAMA2_CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def llama2(shared_data: Path) -> PreTrainedTokenizerBase:
    """The real Llama 2 tokenizer (sentencepiece BPE with byte fallback; no chat template of its own)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(shared_data / "tokenizers" / "llama2_hf_llama-recipes"))
    tokenizer.chat_template = LLAMA2_CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def llama3(shared_data: Path) -> PreTrainedTokenizerBase:
    """Llama 3's byte-level tokenizer, converted from Meta's ranks; adds no BOS of its own."""
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    ranks = shared_data / "tokenizers" / "llama3_llama-models" / "tokenizer.model"
    core = TikTokenConverter(str(ranks), extra_special_tokens=dict.fromkeys(LLAMA3_SPECIALS)).converted()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|eot_id|>"
    )
    tokenizer.chat_template = LLAMA3_CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def mistral(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Mistral 7B's first tokenizer, from its sentencepiece model."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("mistral")
    model = shared_data / "tokenizers" / "mistral_mistral-common" / "tokenizer.model.v1"
    shutil.copy(model, folder / "tokenizer.model")
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"add_bos_token": True, "legacy": True}))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.chat_template = LLAMA2_CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session", params=TOKENIZER_NAMES)
def any_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """Each of the four tokenizers in turn."""
    return request.getfixturevalue(request.param.replace("-", "_"))


@pytest.fixture(scope="session")
def with_chat_template(byte_level: PreTrainedTokenizerBase) -> Callable[..., PreTrainedTokenizerBase]:
    """A copy of the byte-level tokenizer with another chat template and more special tokens."""

    def make(chat_template: str, *specials: str) -> PreTrainedTokenizerBase:
        tokenizer = copy.deepcopy(byte_level)
        tokenizer.chat_template = chat_template
        if specials:
            tokenizer.add_special_tokens({"extra_special_tokens": list(specials)})
        return tokenizer

    return make
