"""Helpers of several attacks: rehearsals, filters, a known blur, the classifier."""
