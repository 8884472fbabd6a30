"""padded = packed = shared prefix, through the command line: one loss, one gradient, one model at the end."""

import pytest
from training_fixtures import World, curve, distance, save_random, weights

FULL = ("--model.method", "full", "--trainer.gradient_clip_val", "0.05")
LORA = ("--model.lora.dropout", "0", "--trainer.gradient_clip_val", "0.05")
VALIDATED = ("--trainer.limit_val_batches", "1.0")
PATHS = ("padded", "packed", "prefix")


@pytest.mark.parametrize("template", ["chat:vanilla", "chat:llama"])
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_the_path_changes_nothing(world: World, method, template):
    options = [*method, *VALIDATED, "--data.init_args.template", template]
    name = f"{template[5:]}-{method[1]}"
    runs = world.fits({f"{path}-{name}": [*options, "--model.batching", path] for path in PATHS})
    padded, *others = runs.values()
    for other in others:
        for tag in ("train/loss", "train/grad_norm", "val/loss"):
            assert dict(curve(other, tag)) == pytest.approx(dict(curve(padded, tag)), rel=1e-5), tag
        assert curve(other, "train/tokens") == curve(padded, "train/tokens")
        assert distance(weights(padded), weights(other)) < 1e-5
    assert len(curve(padded, "train/loss")) > 4


def test_auto_takes_the_shared_prefix_and_says_so(world: World):
    said = world.run("fit", "--name", "auto-path", "--trainer.max_steps", "1").err
    assert "batches: prefix (the rows' common prefix computed once, no padding" in said


def test_a_path_that_the_model_cannot_take_is_one_line(world: World):
    falcon = ("--model.pretrained", str(_falcon(world)), "--tokenizer", str(world.folder / "model"))
    refused = world.start("fit", "--model.batching", "prefix", *falcon, "--model.method", "full").wait()
    assert refused.status == 2
    assert "model.batching is 'prefix', but model type 'falcon' cannot attend by rows" in refused.err
    assert "Traceback" not in refused.err
    taken = world.run("fit", "--name", "falcon", "--trainer.max_steps", "1", *falcon, "--model.method", "full")
    assert "batches: padded (rows padded to the longest of the batch; model type 'falcon' cannot" in taken.err


def _falcon(world: World):
    from transformers import AutoConfig

    folder = world.folder / "falcon"
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 420}
    config = AutoConfig.for_model("falcon", **sizes, new_decoder_architecture=False, multi_query=True)
    config.architectures = ["FalconForCausalLM"]
    save_random(config, folder)
    return folder


def test_dropout_in_attention_and_adapters_still_trains_on_every_path(world: World):
    runs = world.fits(
        {
            f"dropout-{path}": ["--model.lora.dropout", "0.3", "--trainer.max_steps", "3", "--model.batching", path]
            for path in PATHS
        }
    )
    for run in runs.values():
        assert len(curve(run, "train/loss")) == 3
