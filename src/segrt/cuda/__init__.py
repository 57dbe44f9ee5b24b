"""The own CUDA engine: partition -> plan -> memory -> tune -> capture -> session."""
