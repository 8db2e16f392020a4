import sys

import pytest
from near_copies import near_duplicate_pairs

from matchlib.data.schema import DataError
from matchlib.data.words import cut_at_words, spaced, words
from matchlib.retrieval.search import search_bm25

JOBS = ["医院招聘护士，需要三年经验", "餐厅招聘厨师，负责中餐", "招聘Python开发工程师"]
RESUMES = ["我是厨师，会做中餐和西餐", "三年Python开发经验", "护士，在医院工作五年"]


def test_words_of_scripts_without_spaces_are_characters():
    assert words("用Python3开发 Web") == ["用", "python3", "开", "发", "web"]
    assert spaced("an English text, unchanged") == "an English text, unchanged"


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("one two  three four", ["one two  three", " four"]),
        ("one two", ["one two"]),
        ("", [""]),
        ("one two three \n", ["one two three"]),
        ("招聘护士三名", ["招聘护", "士三名"]),
    ],
)
def test_texts_are_cut_at_words_and_nothing_is_left_out(text, pieces):
    assert cut_at_words(text, 3) == pieces and "".join(pieces) == text.rstrip()


@pytest.mark.parametrize("segment", ["characters", "jieba"])
def test_bm25_ranks_chinese_and_mixed_texts(segment):
    if segment == "jieba":
        pytest.importorskip("jieba")
    first = search_bm25(JOBS, RESUMES, depth=1, segment=segment).positions[:, 0].tolist()
    assert first[1:] == [0, 1]
    assert first[0] == (
        2 if segment == "characters" else 1
    )  # jieba's 三年 is one word, and as rare as 护士


def test_jieba_that_is_not_installed_and_unknown_segments_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(DataError, match="needs the package jieba"):
        spaced("护士", segment="jieba")
    with pytest.raises(DataError, match="segment 'words' is not one of"):
        spaced("护士", segment="words")


def test_near_duplicates_in_chinese_are_found_and_only_they():
    text = "本公司招聘软件开发工程师两名，要求熟悉数据库、网络编程和操作系统，有五年以上工作经验，待遇优厚，欢迎联系"
    other = "某医院急需内科护士数名，要求持有执业证书，能上夜班，责任心强，沟通能力好，提供食宿，薪资面议"
    assert near_duplicate_pairs([text, other, text.replace("两名", "三名")]) == [(0, 2)]
