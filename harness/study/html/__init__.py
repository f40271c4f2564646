"""The questionnaire as a page."""
