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

#if NONCES == 2
#define EACH_NONCE(each, x)  each(x, 1) each(x, 2)
#define EACH_FENCE(x)        x(2)
#elif NONCES == 3
#define EACH_NONCE(each, x)  each(x, 1) each(x, 2) each(x, 3)
#define EACH_FENCE(x)        x(2) x(3)
#elif NONCES == 4
#define EACH_NONCE(each, x)  each(x, 1) each(x, 2) each(x, 3) each(x, 4)
#define EACH_FENCE(x)        x(2) x(3) x(4)
#else
#define EACH_NONCE(each, x)  each(x, 1) each(x, 2) each(x, 3) each(x, 4) each(x, 5)
#define EACH_FENCE(x)        x(2) x(3) x(4) x(5)
#endif

#define EACH_FRAG(x)   EACH_NONCE(EACH_SLOT, x)
#define EACH_PLACE(x)  EACH_NONCE(EACH_PLACE_OF, x)

