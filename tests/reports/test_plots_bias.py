"""The figures of the bias analysis: lines, ticks and names of any kind as text."""

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from matchlib.reports import plots_bias

matplotlib.use("Agg")
FORMULA = r"$\frac{1$"
"""A name that is no valid formula."""


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def make_audits():
    """Two systems, measures and groups each; one of each has a formula as its name."""
    rows = []
    for system in ("pretrained", FORMULA):
        for measure in ("share of the top 10", FORMULA):
            for group in ("man", FORMULA):
                row = {
                    "system": system,
                    "measure": measure,
                    "group": group,
                    "value": 0.3 if group == "man" else 0.2,
                    "low": 0.1,
                    "high": 0.4,
                    "expected": 0.25,
                }
                rows.append(row)
    return pd.DataFrame(rows)


def marked(axis, marker):
    """The lines of an axis that are drawn with a marker."""
    return [line for line in axis.lines if line.get_marker() == marker]


def test_every_system_and_group_has_its_own_line():
    figure = plots_bias.plot_audits(make_audits())
    figure.canvas.draw()
    assert len(figure.axes) == 2
    axis = figure.axes[0]
    heights = {line.get_ydata()[0] for line in marked(axis, "o")}
    assert len(heights) == 4
    assert heights == set(axis.get_yticks())


def test_a_tick_is_the_expected_value():
    figure = plots_bias.plot_audits(make_audits())
    ticks = {line.get_xdata()[0] for line in marked(figure.axes[0], "|")}
    assert ticks == {0.25}


def test_slices_are_sorted_by_value_and_those_without_are_left_out():
    raw = make_audits().query("system == 'pretrained'")
    slices = pd.concat(
        [
            raw.assign(slice="b", value=0.15),
            raw.assign(slice=FORMULA),
            raw.assign(slice="few", value=None),
        ],
        ignore_index=True,
    ).astype({"value": float})
    figure = plots_bias.plot_slices(slices, measure="share of the top 10", group="man")
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["b", FORMULA.replace("$", r"\$")]


def test_every_mitigation_starts_at_the_untreated_ranking():
    rows = [
        ("untreated", 0.0, -0.3, 0.5),
        ("erasure", 0.5, -0.2, 0.5),
        ("erasure", 1.0, -0.1, 0.49),
        (FORMULA, 1.0, 0.0, 0.4),
    ]
    compared = pd.DataFrame(rows, columns=["mitigation", "strength", "gap", "value"])
    compared = compared.assign(
        group=FORMULA,
        gap_expected=0.01,
        gap_low=-0.4,
        gap_high=-0.2,
        measure="nDCG@10",
    )
    parts = [compared.assign(judgments=name) for name in ("observed", FORMULA)]
    figure = plots_bias.plot_mitigations(pd.concat(parts))
    figure.canvas.draw()
    assert len(figure.axes) == 2
    erasure = figure.axes[0].lines[0]
    assert erasure.get_xdata().tolist() == [-0.3, -0.2, -0.1]
    assert erasure.get_ydata().tolist() == [0.5, 0.5, 0.49]


def test_quality_against_overlap_has_a_mark_for_each_system_and_hollow_ones_for_the_published():
    rows = [
        ("bm25", "as they are", "MAP", 0.5, 0.4, 0.6),
        ("bm25", "as they are", "overlap", 0.9, 0.8, 1.0),
        (FORMULA, "masked", "MAP", 0.4, None, None),
        (FORMULA, "masked", "overlap", 1.0, None, None),
    ]
    columns = ["system", "texts", "measure", "value", "low", "high"]
    scores = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    published = pd.DataFrame({"system": ["theirs", FORMULA], "MAP": [0.7, 0.6], "RBO": [0.9, 0.8]})
    figure = plots_bias.plot_map_against_overlap(scores, published, measures=("MAP", "overlap"))
    figure.canvas.draw()
    axis = figure.axes[0]
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked(axis, "o")]
    assert places == [(0.9, 0.5)]
    (hollow,) = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
    assert list(zip(hollow.get_xdata(), hollow.get_ydata(), strict=True)) == [
        (0.9, 0.7),
        (0.8, 0.6),
    ]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert "published, other data" in labels and len(labels) == 3
