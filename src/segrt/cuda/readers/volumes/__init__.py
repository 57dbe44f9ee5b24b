"""Readers of operators on volumes, N C D H W in the graph; what they do not take, tensors' do."""
