"""Which distance and threshold agree with what somebody recognised? Raynal et al. 2020, sections 4.2.3, 4.3 and 4.5."""
