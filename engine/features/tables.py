"""Names of the columns of the integer tables that plan and kernels share."""

from typing import Final

# Kinds of log columns.
KIND_MONEY: Final = 0  # minor units << 3 | exponent, -1 missing
KIND_FLOAT: Final = 1  # bits of a float64, NaN missing
KIND_HASH: Final = 2  # 64-bit hash, 0 missing

# A feature.
F_OP: Final = 0
F_BIT: Final = 1  # mask bit of its filter
F_COLUMN: Final = 2  # column aggregated, -1 none
F_WINDOW: Final = 3  # index into the group's windows, -1 unbounded
F_OUT: Final = 4  # row of the feature matrix
F_KIND: Final = 5  # kind of the column, -1 none
F_HOME: Final = 6  # bucket series of its filter, -1 none
F_SERIES: Final = 7  # recency series of filter and column, -1 none
F_WIDTH: Final = 8

# A filter in use.
B_BIT: Final = 0
B_FILTER: Final = 1  # row of the batch's filter matrix
B_KEEP: Final = 2  # how long its touches may be needed, milliseconds
B_UNBOUNDED: Final = 3  # the latest touch is needed for ever
B_WIDTH: Final = 4

# Mask bits of the touches of label rows; the tile series of a bit has its number.
LABEL_FIRST: Final = 0
LABEL_FRAUD: Final = 1
LABEL_WITHDRAWN: Final = 2
LABEL_GENUINE: Final = 3
LABEL_UNEXPLAINED: Final = 4

# A column of the log.
C_KIND: Final = 0
C_ROW: Final = 1  # row of the batch's matrix it is read from
C_ACTIVE: Final = 2
C_NUMBER: Final = 3  # position among the number columns in use, -1 for others
C_WIDTH: Final = 4

# A series of tiles.
S_KIND: Final = 0
S_BIT: Final = 1
S_COLUMN: Final = 2  # of the hashes, -1 for buckets
S_KEEP: Final = 3  # how long its events may be needed, milliseconds
S_WIDTH: Final = 4
SERIES_BUCKETS: Final = 0
SERIES_RECENCY: Final = 1

# Scalars of a group.
P_WIDTH: Final = 0  # words of a touch
P_AGES: Final = 1
P_EXACT: Final = 2
P_KEEP: Final = 3  # matching touches left in the log by a fold
P_TTL_HOURS: Final = 4
P_GROUP: Final = 5
P_LATENESS: Final = 6
P_WINDOW_MAX: Final = 7
P_SLACK: Final = 8
P_BACKED: Final = 9
P_COMPACT: Final = 10  # log length from which compaction is considered
P_SAMPLE: Final = 11  # values kept per level of a recency series
P_SHARED: Final = 12  # several shards append to its logs
P_WIDTH_OF: Final = 13

# Rows of a log chunk; a chunk of capacity c holds row r of touch j at start + r * c + j.
R_TIME: Final = 0
R_MASK: Final = 1
R_SEQ: Final = 2  # position in the persisted record: snapshot touches first, then arrivals
R_COLUMNS: Final = 3

# An entity.
E_KEY: Final = 0  # 0 for a free slot
E_START: Final = 1  # of its log chunk in the arena; of a free slot: the next free slot
E_CLASS: Final = 2  # the chunk has 1 << class words, -1 none
E_LEN: Final = 3
E_BASE: Final = 4  # touches of the last snapshot
E_NEXT: Final = 5  # position of the next touch in the persisted record
E_LAST: Final = 6  # time of the last touch of the persisted record
E_FIRST: Final = 7  # smallest event time of any event, NEVER where not kept
E_AND: Final = 8  # bits that every touch of the log has
E_TTL: Final = 9  # event time of the last refresh of the expiry
E_USED: Final = 10  # batch that last used it
E_TILES: Final = 11  # of its tile directory in the arena, -1 none
E_SEEN: Final = 12  # event time at which the store last heard of it
E_CAP: Final = 13  # touches that fit into its chunk
E_UNIFORM: Final = 14  # + column: the exponent all its touches share, MIXED where not; money only

NEVER: Final = 1 << 62
MIXED: Final = -2
UNKNOWN: Final = -3

# Counters of a pool.
M_TOP: Final = 0  # words of the arena handed out so far
M_ENTITIES: Final = 1  # entities resident
M_SLOTS: Final = 2  # slots handed out so far
M_SLOT_FREE: Final = 3  # head of the list of free slots
M_OPS: Final = 4  # bytes of operations written
M_NEED: Final = 5  # what the kernel ran out of: NEED_*
M_NEED_SIZE: Final = 6
M_TICK: Final = 7
M_FREE: Final = 16  # + class: head of the list of free chunks
M_WIDTH: Final = 64

NEED_NOTHING: Final = 0
NEED_SLOTS: Final = 1
NEED_ARENA: Final = 2
NEED_OPS: Final = 3
CORRUPT: Final = 4
