//! Operating jeton: start, outage, drain, logs, probes, `jeton dev`, the command line.

mod agreement;
mod audit;
mod bootstrap;
mod cli;
mod cli_admin;
mod cli_away;
mod cli_comfort;
mod cli_explain;
mod cli_policies;
mod cli_refusals;
mod cli_replicas;
mod configuration;
mod dev;
mod discovery;
mod drain;
mod epoch;
mod fleet;
mod key_import;
mod logs;
mod metrics;
mod migrate;
mod outage;
mod prober;
mod restore;
mod start;
