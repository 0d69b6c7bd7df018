//! What strangers' files, two programs at once and careless users cannot do.

mod crafted;
mod links;
mod mutated;
mod names;
mod older;
mod parts;
mod patients;
mod printed;
mod sizes;
mod time;
mod two_programs;
