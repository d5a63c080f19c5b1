"""Is this machine fit for its task, and what would make it fitter? Each file checks one subject and gives
findings: a plain sentence each, and for a problem the command that mends it. Nothing here prints."""
