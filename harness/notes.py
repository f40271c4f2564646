"""What stands under every board: how its figures are to be read."""

from harness.rows import THRESHOLDS

NOTES = (
    "Mean [95 % interval]; distances to the dominant original, bootstrap over n originals; proportions by Wilson. "
    "Worst: per original the minimum over looking at the release (look) and every reconstruction run, controls apart. "
    "Recognised: top-1 of the strongest recogniser against the dominant source's class; read it against the row none. "
    "Utility: accuracy on clean test images; lost: paired, against undefended; with one seed the intervals do not hold "
    "what another training would do. Rank: by utility among judged rows that pass by dSSIM, 1 + the rows that are "
    "better by a paired difference (Holm); = tied with another; ref: a reference, listed and not ranked. "
    "* on the Pareto front of both, among judged rows. Passes: lower end of the worst case at or above "
    + " and ".join(f"{value} ({name})" for name, value in THRESHOLDS.items())
    + ", thresholds of a survey at 96 to 256 px: at 64 px a blank grey image has dSSIM .80 to a photograph."
)
LINKS = "A figure links to its record, small numbers to others behind it; a worst case to those of the named attack."
ATTACK_NOTES = (
    "Look is the release itself, the floor of every row. Left: the attack alone, without that floor. Below look, below "
    "smooth: how much closer the attack comes, paired over originals. Re-identified: the original comes first in a "
    "gallery. An attack sees more than smoothing where it is closer than smooth by dSSIM and, apart from that, by "
    "dHaar or in re-identification. Controls never enter the worst case; what failed or was skipped says nothing for "
    "the defense. †: no difference any more after Holm's correction for all comparisons of the board with look and "
    "smooth."
)
REPORTED_NOTES = (
    "As printed, on the authors' images and by their attacks: not measured here, without intervals, never ranked, and "
    "not to be compared with the rows above figure by figure."
)
