//! Operating jeton: start, crash, outage, drain, probes, logs, the command line.
