"""The paper's human study on any data set: questionnaires, judgements, and thresholds calibrated from them."""
