"""What does the Python API take and return: one's own functions, tensors and data sets, and results as tables?"""
