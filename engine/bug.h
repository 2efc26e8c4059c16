// Deliberate bugs, by number, for the proof that the simulation finds such (docs/PROOF.md lists
// them). In every build but that of `make mutants` this is nothing at all; there WP_BUG in the
// environment says which one is on.
#ifndef WP_ENGINE_BUG_H_
#define WP_ENGINE_BUG_H_

#ifdef WP_BUGS
namespace wp {
int bug_number();  // engine/bug.cpp
}
#define WP_BUG(number) (::wp::bug_number() == (number))
#else
#define WP_BUG(number) false
#endif

#endif  // WP_ENGINE_BUG_H_
