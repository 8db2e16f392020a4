"""The technical file: every heading, what is missing, and hostile text that stays text."""

import pytest

from matchlib.reports import technical_file

MANIFEST = {
    "stage": "01_data_rules",
    "id": "0123456789abcdef",
    "files": {"croissant.json": {}, "jobs.parquet": {}},
    "parameters": {"source": "files"},
    "metrics": {"n_training_pairs": 0, "parts": [1]},
    "headline": "12 jobs are kept for the test.",
    "device": "cpu",
    "code": {"version": "0.1.0", "commit": "abc", "dirty": False},
    "packages": {"numpy": "2.0"},
    "python": "3.11.7",
}
TRAINED = MANIFEST | {
    "stage": "02_contrastive",
    "parameters": {"model_name_or_path": "<script>alert(1)</script>", "seed": 1},
    "files": {"encoder/README.md": {}},
    "headline": "It rose.",
}


def sort_run(**changes):
    options = {"audit": ["gender: no flag"], "limits": ["one seed"]} | changes
    manifests = {"01_data_rules": MANIFEST, "02_contrastive": TRAINED}
    return technical_file.sort_run(
        manifests, data="01_data_rules", model="02_contrastive", **options
    )


def test_every_heading_stands_once_and_names_what_is_missing():
    frame = sort_run()
    headings = frame["heading"].str.extract(r"^(Annex IV \d|Article \d+)")[0].tolist()
    assert headings == [f"Annex IV {i}" for i in range(1, 10)] + [
        f"Article {i}" for i in range(10, 16)
    ]
    assert frame["missing"].str.len().min() > 10
    nothing = frame[frame["this run holds"] == technical_file.NOTHING]["heading"]
    assert nothing.str.extract(r"(\d+)")[0].tolist() == ["5", "7", "8", "9", "14"]


def test_what_the_run_holds_is_read_from_it():
    held = sort_run().set_index("heading")["this run holds"]
    assert "matchlib 0.1.0 at commit abc" in held.iloc[0]
    assert "data card croissant.json" in held["Article 10: data and data governance"]
    assert "gender: no flag" in held["Article 10: data and data governance"]
    assert "one seed" in held["Article 13: transparency to deployers"]
    assert "not audited" in sort_run(audit=[]).iloc[9]["this run holds"]


@pytest.mark.parametrize("write", [technical_file.as_markdown, technical_file.as_html])
def test_pages_certify_nothing_and_run_nothing(write):
    page = write(sort_run())
    assert "certifies nothing" in page
    assert "<script>" not in page
    assert "alert(1)" in page
    assert page.count("Article 14") == 1
