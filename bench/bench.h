// The measurements. Each prints lines of figures, beside the limit that they stand against, and
// returns an exit status.
#ifndef WP_BENCH_BENCH_H_
#define WP_BENCH_BENCH_H_

namespace wp {

// What the S3 client costs of CPU per MB, against `curl` sending the same bytes to the same server,
// and how many threads and connections a crowd of puts takes.
int bench_s3_client();

}  // namespace wp

#endif  // WP_BENCH_BENCH_H_
