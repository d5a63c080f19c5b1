"""Picture health: is a camera covered, out of focus, turned, frozen?"""
