-- Lists read the prepared rows alone (0015), and so would not see that one was lost: they count the nodes that they should have,
-- here and in nodes_parent.

CREATE INDEX nodes_roots ON nodes (id) WHERE parent = '';
