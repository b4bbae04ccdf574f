"""Laws of splitting: disjoint, complete, of the sizes asked, and blind to the order of ids."""

from hypothesis import given
from hypothesis import strategies as st

from angioshare.cohort.split import split_subjects

cases = st.tuples(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 40), st.one_of(st.none(), st.integers(0, 2**40)), st.randoms()
)


@given(cases)
def test_every_subject_stands_in_exactly_one_part_of_the_size_asked(case):
    validation, test, train, seed, _ = case
    ids = [f"sub-{number}" for number in range(train + validation + test)]
    split = split_subjects(ids, validation, test, seed)
    assert sorted(split.train + split.validation + split.test) == sorted(ids)
    assert (len(split.train), len(split.validation), len(split.test)) == (train, validation, test)


@given(cases)
def test_the_order_in_which_ids_are_given_does_not_matter(case):
    validation, test, train, seed, random = case
    ids = [f"sub-{number}" for number in range(train + validation + test)]
    mixed = random.sample(ids, len(ids))
    assert split_subjects(mixed, validation, test, seed) == split_subjects(ids, validation, test, seed)


@given(cases)
def test_a_subject_never_trains_and_tests(case):
    validation, test, train, seed, _ = case
    split = split_subjects([f"sub-{n}" for n in range(train + validation + test)], validation, test, seed)
    assert not set(split.train) & set(split.test)
    assert not set(split.train) & set(split.validation)
    assert not set(split.validation) & set(split.test)
