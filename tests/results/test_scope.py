"""The sentence about what an attack success rate is a statement about."""

from ptst_pl.results.scope import scope

RATES = [
    {"suite": suite, "template": "chat:llama", "judge": "refusal", "measures": measures}
    for suite, measures in (("hats", "asr"), ("hats+rot13", "asr"), ("sums", "helpfulness"))
]


def test_it_names_prompts_encodings_templates_and_judges_of_harm_alone():
    said = scope(RATES, {"hats+rot13": {"encoding": "rot13"}, "hats": {}})
    assert "prompts of hats and hats+rot13, as plain text and rot13, under chat:llama, by refusal" in said
    assert "sums" not in said
    assert "nothing about other prompts" in said


def test_without_harm_there_is_nothing_to_say():
    assert scope(RATES[2:], {}) == ""
