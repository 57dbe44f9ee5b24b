"""Forms of upsampling, and the planner that chooses among them."""
