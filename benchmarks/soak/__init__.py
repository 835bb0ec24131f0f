"""The long proofs of reliability: the engine is killed, starved, lied to and fuzzed; nothing may be lost or differ."""
