/* What lies in the bucket, and the chain that runs through it.
 *
 * Every opening that puts a fence takes a number, its nonce; nonce 1 is the creator of `root`. A
 * nonce names one fence, and the epoch that this fence gives to its author. So a body needs no
 * bytes. It is the number of what it says:
 *
 *   FENCE(n)     the fence with nonce n; FENCE(1) is `root`
 *   FRAG(n, s)   the fragment that the owner with nonce n means for slot s of its epoch
 *   ALT(n, s)    another fragment for the same slot: only a broken rule sends one
 *
 * and its digest is that same number. The body in front of it follows from it: prev(). Whoever
 * stands on a body thereby knows the whole history up to it, so one number is a view, a
 * checkpoint, or how far somebody has read. Each fragment holds one entry; its LSN is its place on
 * the chain. */

#define ROOT        FENCE(1)
#define FENCE(n)    ((n) << 2)
#define FRAG(n, s)  (((n) << 2) + (s) + 1)
#define ALT(n, s)   (FRAG(n, s) + 32)

#define author(b)   (((b) & 31) >> 2)
#define number(b)   ((b) & 3) /* of the slot behind it in the epoch of its author */
#define is_frag(b)  (number(b) != 0)

byte nonce_next = 2;         /* the nonce that the next fence takes */
byte fence_prev[NONCES + 1]; /* the body in front of that fence */
byte epoch[NONCES + 1];      /* the epoch that it begins */

#if BREAK == 9
byte resent[NONCES + 1];     /* bit s: a retry of slot s had another body */
#define frag(n, s)  (FRAG(n, s) + ((resent[n] >> (s)) & 1) * 32)
#define prev(b)     (number(b) > 1 -> frag(author(b), number(b) - 2) : prev_of_first(b))
#define prev_of_first(b) (number(b) == 1 -> FENCE(author(b)) : fence_prev[author(b)])
#else
#define frag(n, s)  FRAG(n, s)
#define prev(b)     (is_frag(b) -> (b) - 1 : fence_prev[author(b)])
#endif

/* Where a body lies: the folder of its epoch, and a number in it. The folder's name holds the
 * epoch's number and its owner; a nonce stands for both. */
#if BREAK == 4
#define folder(n)      epoch[n]
#define folder_epoch(f) (f)
#else
#define folder(n)      (n)
#define folder_epoch(f) epoch[f]
#endif
#define place(f, s)    (((f) << 2) + (s))
#define place_after(b) place(folder(author(b)), number(b))
#define place_of(b)    place_after(prev(b))

byte slot[PLACES];           /* the journal: the body at a place, 0 where none is */

/* Names are compared as LIST sorts them: by epoch, then by slot. */
#define rank_after(b) ((epoch[author(b)] << 3) + number(b) + 1)
#define rank(b)       ((b) == ROOT -> 0 : rank_after(prev(b)))
#define rank_epoch(b) (rank(b) >> 3)

/* Checkpoints. None is ever removed here: the newest always stays, and nobody starts at another. */
int checkpoint_sent;         /* bit b: a PUT of the checkpoint as of body b is under way */
int checkpoints;             /* bit b: it is in the bucket */
byte checkpoint_count;       /* as many bits are set there: a LIST with more shows a new one */
byte newest = ROOT;          /* the newest of them */
byte newest_sent = ROOT;     /* the newest that was ever sent */

/* What PUTs may still do. A slot that was sent once may be applied at any later time, and again
 * after it was reclaimed: a try that was lost, a slow one, a retry, a duplicate are all in that. */
byte sent[NONCES + 1];       /* the owner with this nonce has sent slots below this */
byte close_at[NONCES + 1];   /* the slot of its clean close, NOT_CLOSED without */
#define NOT_CLOSED 15

/* What the living know. */
bit waits[NONCES + 1];       /* who put the fence with this nonce waits for it */
bit owns[NONCES + 1];        /* who put it owns its epoch */
byte landed[NONCES + 1];     /* waits: bit 7: the fence was applied. owns: bit s: slot s was, and is
                                not acknowledged. The answer may come at any time after, or never */
byte acked[NONCES + 1];      /* owns: it has acknowledged slots below this */

/* Scratch, only inside of one step. It is no part of the state; but a search by breadth, which
 * finds the shortest counterexample, must be allowed to take it for one. */
#if BY_BREADTH
byte look_at, found, met;
#else
hidden byte look_at, found, met;
#endif

/* found: body x lies on the chain that ends at y. */
inline find_on_chain(x, y) {
  look_at = y;
  do
  :: look_at == x || look_at == ROOT -> break
  :: else -> look_at = prev(look_at)
  od;
  found = (look_at == x);
}
