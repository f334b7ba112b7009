//! Which of the known names a mistyped one was probably meant to be.

/// The candidate that is closest to `word`, if it is close enough to be meant: one
/// edit for each three letters; else one that `word` is a longer form of.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    near.or_else(|| candidates.into_iter().find(|candidate| candidate.len() > 2 && word.starts_with(candidate)))
}

/// How many letters are to be inserted, removed, replaced or swapped with their
/// neighbour (optimal string alignment), ignoring case and `_` for `-`.
fn distance(left: &str, right: &str) -> usize {
    let letters = |word: &str| word.to_lowercase().replace('_', "-").chars().collect::<Vec<_>>();
    let (left, right) = (letters(left), letters(right));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = above[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_swap_is_one_edit_and_an_underscore_none() {
        assert_eq!(distance("pyhton", "python"), 1);
        assert_eq!(distance("index_url", "index-url"), 0);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_longer_form_of_a_key_means_the_key() {
        assert_eq!(nearest("environment", ["labels", "env"]), Some("env"));
    }

    #[test]
    fn a_name_that_resembles_nothing_has_no_neighbour() {
        assert_eq!(nearest("colour", ["path", "python"]), None);
        assert_eq!(nearest("requirement", ["requirements", "requirements-files"]), Some("requirements"));
    }
}
