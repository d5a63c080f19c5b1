"""Overload: what is given up, and in which order, when the machine cannot keep up."""
