"""Our payments against what banks and acquirers say they have settled."""
