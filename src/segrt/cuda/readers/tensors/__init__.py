"""Readers of operators on values of any rank; asked where no reader of images takes a node."""
