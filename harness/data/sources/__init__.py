"""Named data sets: functions that list the images of each."""
