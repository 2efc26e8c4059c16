// The test program's entry: doctest's own, with its options (-tc=PATTERN, -ltc, -s, ...).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
