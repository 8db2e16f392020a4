"""The figures of the bias analysis: a line a group, ticks where they belong, names of any kind as text."""

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from matchlib.reports import plots_bias

matplotlib.use("Agg")
NAME = r"$\frac{1$"


def audited(**columns):
    rows = [
        {
            "system": system,
            "measure": measure,
            "group": group,
            "value": 0.2 + 0.1 * (group == "man"),
            "low": 0.1,
            "high": 0.4,
            "expected": 0.25,
        }
        for system in ("raw", NAME)
        for measure in ("share of the top 10", NAME)
        for group in ("man", NAME)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_every_system_and_group_has_a_line_of_its_own():
    figure = plots_bias.plot_audits(audited(), ["share of the top 10", NAME])
    figure.canvas.draw()
    assert len(figure.axes) == 2
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(set(heights)) == 4 and set(heights) == set(figure.axes[0].get_yticks())
    ticks = {line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "|"}
    assert ticks == {0.25}
    plt.close(figure)


def test_slices_stand_by_value_and_those_too_small_are_left_out():
    rows = pd.concat([audited(slice=name) for name in ("b", NAME, "few")])
    rows = rows[rows["system"] == "raw"].reset_index(drop=True)
    rows.loc[rows["slice"] == "b", "value"] = 0.15
    rows.loc[rows["slice"] == "few", "value"] = None
    figure = plots_bias.plot_slices(rows, measure="share of the top 10", group="man")
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "b",
        NAME.replace("$", r"\$"),
    ]
    plt.close(figure)


def test_every_remedy_starts_at_the_untreated():
    rows = [
        ("none", 0.0, -0.3, 0.5),
        ("erasure", 0.5, -0.2, 0.5),
        ("erasure", 1.0, -0.1, 0.49),
        (NAME, 1.0, 0.0, 0.4),
    ]
    frame = pd.concat(
        [
            pd.DataFrame(rows, columns=["mitigation", "strength", "gap", "value"]).assign(
                channel=channel,
                group=NAME,
                gap_expected=0.01,
                gap_low=-0.4,
                gap_high=-0.2,
                measure="nDCG@10",
            )
            for channel in ("observed", NAME)
        ]
    )
    figure = plots_bias.plot_mitigation(frame)
    figure.canvas.draw()
    erasure = figure.axes[0].lines[0]
    assert erasure.get_xdata().tolist() == [-0.3, -0.2, -0.1] and erasure.get_ydata().tolist() == [
        0.5,
        0.5,
        0.49,
    ]
    assert len(figure.axes) == 2
    plt.close(figure)
