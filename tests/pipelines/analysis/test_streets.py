"""Spellings of streets: what is folded, by which rules, and what is not."""

import pytest

from pipelines.analysis.streets import RULES, fold


@pytest.mark.parametrize(
    ("spellings", "street"),
    [
        (("BROADWAY", "Broadway", "Broadway Ave", "broadway  street", " BROADWAY"), "BROADWAY"),
        (("W Broadway", "WEST BROADWAY", "W. Broadway St"), "W BROADWAY"),
        (("BROADWAY TER", "Broadway Terrace"), "BROADWAY TER"),
        (("WEST 42ND STREET", "W 42 St.", "W 42nd ST", "west 42 street"), "W 42 ST"),
        (("5TH AVE", "Fifth Avenue", "5 AV", "5th Aven"), "5 AVE"),
        (("PARK AVENUE SOUTH", "Park Ave S", "PARK AV S"), "PARK AVE S"),
        (("AVENUE N", "Ave N", "AV N"), "AVE N"),
        (("AVENUE OF THE AMERICAS", "Ave of the Americas"), "AVE OF THE AMERICAS"),
        (("CENTRAL PARK WEST", "Central Park W"), "CENTRAL PARK W"),
        (("ST. MARK'S PLACE", "St Marks Pl"), "ST MARKS PL"),
        (("GRAND CONCOURSE", "Grand  Concourse"), "GRAND CONCOURSE"),
        (("QUEENS BOULEVARD", "Queens Blvd", "QUEENS BLV"), "QUEENS BLVD"),
        (("OCEAN PKY", "Ocean Parkway"), "OCEAN PKWY"),
        (("HORACE HARDING EXPRESSWAY", "Horace Harding Expwy"), "HORACE HARDING EXPY"),
        (("WEST ST", "West Street"), "WEST ST"),
        (("COURT STREET", "Court St"), "COURT ST"),
        (("STREET",), "STREET"),
        (("...",), "..."),
        (("",), ""),
    ],
)
def test_spellings_of_a_street(spellings: tuple[str, ...], street: str) -> None:
    assert [fold(spelling).name for spelling in spellings] == [street] * len(spellings)
    assert fold(street) == (street, ()), "what is folded stays"


def test_the_rules_are_named_in_order() -> None:
    assert fold("West  fifty-second. Street") == (
        "W FIFTY-SECOND ST", ("case", "white space", "punctuation", "direction", "suffix spelling")
    )  # fmt: skip
    assert fold("Fifth ave").rules == ("case", "ordinal")
    assert set(RULES) >= set(fold("East  Broadway. Ave").rules) == {*RULES} - {"suffix spelling", "ordinal"}


@pytest.mark.parametrize(("one", "other"), [("W 42 ST", "E 42 ST"), ("5 AVE", "5 ST"), ("AVE N", "N AVE"),
                                            ("BROADWAY", "BROADWAY TER"), ("42 ST", "W 42 ST")])  # fmt: skip
def test_streets_that_stay_apart(one: str, other: str) -> None:
    assert fold(one).name != fold(other).name
