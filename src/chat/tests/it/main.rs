//! The chat backend over the engines in memory: its two cores step by step, then the threads around them.
//!
//! Modules say `cfg(test)` so that clippy takes their helpers for test code.

#[cfg(test)]
mod acks;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod adopt;
#[cfg(test)]
mod amend;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod group_messages;
#[cfg(test)]
mod group_table;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod history;
#[cfg(test)]
mod login;
#[cfg(test)]
mod model;
#[cfg(test)]
mod mutes;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod pending;
#[cfg(test)]
mod people;
#[cfg(test)]
mod pushes;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod send;
#[cfg(test)]
mod service;
#[cfg(test)]
mod world;
