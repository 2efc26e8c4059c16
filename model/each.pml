/* One line for each object that a run can have, so that a step is one transition. */
#if SLOTS == 1
#define EACH_SLOT(x, n)  x(n, 0)
#define EACH_PLACE_OF(x, n) x(n, 0) x(n, 1)
#elif SLOTS == 2
#define EACH_SLOT(x, n)  x(n, 0) x(n, 1)
#define EACH_PLACE_OF(x, n) x(n, 0) x(n, 1) x(n, 2)
#else
#define EACH_SLOT(x, n)  x(n, 0) x(n, 1) x(n, 2)
#define EACH_PLACE_OF(x, n) x(n, 0) x(n, 1) x(n, 2) x(n, 3)
#endif

/* What a run has not is left out. */
#if NONCES >= 3
#define NONCE_3(each, x) each(x, 3)
#else
#define NONCE_3(each, x)
#endif
#if NONCES >= 4
#define NONCE_4(each, x) each(x, 4)
#else
#define NONCE_4(each, x)
#endif
#if NONCES >= 5
#define NONCE_5(each, x) each(x, 5)
#else
#define NONCE_5(each, x)
#endif
#if NONCES >= 6
#define NONCE_6(each, x) each(x, 6)
#else
#define NONCE_6(each, x)
#endif
#if NONCES >= 7
#define NONCE_7(each, x) each(x, 7)
#else
#define NONCE_7(each, x)
#endif
#define EACH_OPENING(each, x) \
  each(x, 2) NONCE_3(each, x) NONCE_4(each, x) NONCE_5(each, x) NONCE_6(each, x) NONCE_7(each, x)
#define ITS_FENCE(x, n) x(n)

#define EACH_FENCE(x)  EACH_OPENING(ITS_FENCE, x)
#define EACH_FRAG(x)   EACH_SLOT(x, 1) EACH_OPENING(EACH_SLOT, x)
#define EACH_PLACE(x)  EACH_PLACE_OF(x, 1) EACH_OPENING(EACH_PLACE_OF, x)
