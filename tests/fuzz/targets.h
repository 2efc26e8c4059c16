// What is fuzzed: every decoder of bytes that come from outside. Each target takes any input and
// returns; what it must not do shows as a crash, as a sanitizer's report, or as an exception that
// says which promise was broken.
//
// `make fuzz` looks for such inputs; the tests replay those in tests/fuzz/corpus/<target>/. An
// input that found a fault belongs there too, as a small file.
#ifndef WP_TESTS_FUZZ_TARGETS_H_
#define WP_TESTS_FUZZ_TARGETS_H_

#include <span>
#include <stdexcept>
#include <string_view>

#include "wp.h"

namespace wp::fuzz {

struct Target {
  std::string_view name;
  void (*run)(Bytes input);
};
std::span<const Target> targets();
const Target* find_target(std::string_view name);  // null: none of that name

inline void promise(bool kept, const char* what) {
  if (!kept) throw std::logic_error(what);
}

// Of objects (format.cpp), of texts (texts.cpp), of a view's file (view.cpp).
void root(Bytes input);
void slot(Bytes input);
void index(Bytes input);
void block(Bytes input);
void entries(Bytes input);
void checkpoint(Bytes input);
void checkpoint_rows(Bytes input);
void names(Bytes input);
void xml(Bytes input);
void json(Bytes input);
void ini(Bytes input);
void url(Bytes input);
void options(Bytes input);
void text(Bytes input);
void view(Bytes input);

}  // namespace wp::fuzz

#endif  // WP_TESTS_FUZZ_TARGETS_H_
