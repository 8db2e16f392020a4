"""The data card says what the tables hold, and the hash of each file."""

import hashlib
import json

from matchlib.data.croissant import write_card

MARKET = {"source": "market", "seed": 3, "market_settings": {"occupations": 4}}


def card_of(tables, folder, parameters):
    for name, frame in tables.items():
        frame.to_parquet(folder / f"{name}.parquet")
    write_card(folder / "croissant.json", tables, parameters, version="1.2.3")
    return json.loads((folder / "croissant.json").read_text())


def test_every_column_and_file_is_in_the_card(small_tables, tmp_path):
    card = card_of(small_tables, tmp_path, MARKET)
    assert (
        card["version"] == "1.2.3" and 'Seed 3, settings {"occupations": 4}' in card["description"]
    )
    for file in card["distribution"]:
        content = (tmp_path / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert [records["@id"] for records in card["recordSet"]] == list(small_tables)
    for records, frame in zip(card["recordSet"], small_tables.values(), strict=True):
        assert [field["name"] for field in records["field"]] == list(frame.columns)
    types = {field["@id"]: field["dataType"] for field in card["recordSet"][0]["field"]}
    assert types["jobs/text"] == "sc:Text" and types["jobs/min_years"] == "sc:Integer"


def test_a_licence_is_stated_for_the_market_alone(small_tables, tmp_path):
    assert card_of(small_tables, tmp_path, MARKET)["license"].endswith("LICENSE-2.0")
    card = card_of(small_tables, tmp_path, {"source": "files"})
    assert "license" not in card and "Seed" not in card["description"]
