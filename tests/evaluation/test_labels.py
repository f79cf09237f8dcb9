"""Labels that name what differs, and values as YAML has them."""

from boards import point

from hcr.evaluation.labels import format_value, short_labels, short_names


def test_values_are_shown_as_yaml_has_them():
    values = [True, None, 3, 0.001, "adam", [16, 32], (1, "a"), {"a": 1}]
    assert [format_value(value) for value in values] == [
        *("true", "null", "3", "0.001", "adam", "[16,32]", '[1,"a"]', '{"a":1}'),
    ]


def test_a_short_label_names_only_what_differs_and_keeps_names_apart():
    both = [point("whole", 1.0, values={"a.b": 1, "c": 2, "d.e": k}) for k in (1, 2)]
    assert short_labels(both) == ["e=1", "e=2"]
    assert short_labels(both[:1]) == ["whole"]
    assert short_names(["model.depth", "optimizer.rate", "schedule.rate"]) == {
        "model.depth": "depth",
        "optimizer.rate": "optimizer.rate",
        "schedule.rate": "schedule.rate",
    }
