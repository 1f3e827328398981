// The centroid stage's loops for any processor; on ARM the baseline is NEON.
#include "rows.hpp"

namespace serotine::search {

const CentroidKernels portable_centroids = {scan, winners, reaching, flagged, quantize};

}  // namespace serotine::search
