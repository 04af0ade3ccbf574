//! Which PoP is best for whom: the table, predictions, candidate sets and the map, as pure functions and state
//! machines.
//!
//! Nothing here reads a clock, a file or a socket, or rolls dice: time and seeds are arguments, so that the service,
//! the simulator and the evaluation run the same code.

pub mod choose;
mod csv;
mod dice;
pub mod eval;
pub mod health;
pub mod load;
pub mod map;
pub mod model;
pub mod network;
pub mod place;
pub mod prefixes;
pub mod signed;
mod table;
pub mod world;

pub use csv::CsvError;
pub use dice::Dice;
pub use place::{Continent, Coordinates, Country, Degree};
pub use table::{
    Capability, Endpoints, ID_BYTES_MAX, POLICIES_MAX, POPS_MAX, Policy, Pop, PopIndex, PopSet, PopTable,
    TableError, is_id,
};
pub use world::World;
