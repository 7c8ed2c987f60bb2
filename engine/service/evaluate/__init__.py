"""How good the scores of a history are, judged by labels that arrive later in it: `steward evaluate`."""
