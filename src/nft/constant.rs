//! Numbers of the kernel's interface: message types, attributes and flags of nfnetlink, nf_tables and NFLOG.
//!
//! Names follow the kernel's headers (`linux/netfilter/*.h`) without the enum's prefix. Only what this crate sends or
//! reads is listed.

pub const NETLINK_ROUTE: u32 = 0;
pub const NETLINK_SOCK_DIAG: u32 = 4;
pub const NETLINK_NETFILTER: u32 = 12;

pub const NLM_F_REQUEST: u16 = 0x01;
pub const NLM_F_ACK: u16 = 0x04;
pub const NLM_F_DUMP_INTR: u16 = 0x10;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_APPEND: u16 = 0x800;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
/// Marks a value that is itself a list of attributes.
pub const NLA_F_NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are not flags.
pub const NLA_TYPE_MASK: u16 = 0x3fff;

pub const SUBSYSTEM_NFTABLES: u16 = 10;
pub const SUBSYSTEM_ULOG: u16 = 4;
pub const BATCH_BEGIN: u16 = 0x10;
pub const BATCH_END: u16 = 0x11;
/// The multicast group of nf_tables changes.
pub const GROUP_NFTABLES: u32 = 7;

pub const FAMILY_UNSPECIFIED: u8 = 0;
pub const FAMILY_INET: u8 = 1;
/// `NFPROTO_IPV4`, which is also `AF_INET`.
pub const FAMILY_IPV4: u8 = 2;
/// `NFPROTO_IPV6`, which is also `AF_INET6`.
pub const FAMILY_IPV6: u8 = 10;

/// nf_tables message numbers.
pub mod message {
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DELETE_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const NEW_RULE: u16 = 6;
    pub const GET_RULE: u16 = 7;
    pub const NEW_SET: u16 = 9;
    pub const GET_SET: u16 = 10;
    pub const NEW_ELEMENT: u16 = 12;
    pub const GET_ELEMENT: u16 = 13;
    pub const DELETE_ELEMENT: u16 = 14;
    pub const GET_GENERATION: u16 = 16;
    pub const NEW_OBJECT: u16 = 18;
    pub const GET_OBJECT: u16 = 19;
    pub const GET_OBJECT_RESET: u16 = 21;
}

/// Attributes of tables, chains, rules, sets, elements and objects.
pub mod attribute {
    pub const LIST_ELEMENT: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;

    pub const TABLE_NAME: u16 = 1;
    pub const TABLE_FLAGS: u16 = 2;
    pub const TABLE_USERDATA: u16 = 6;

    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;

    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;

    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LENGTH: u16 = 5;
    pub const SET_DESCRIPTION: u16 = 9;
    pub const SET_ID: u16 = 10;
    pub const SET_TIMEOUT: u16 = 11;
    pub const SET_OBJECT_TYPE: u16 = 15;
    pub const SET_DESCRIPTION_SIZE: u16 = 1;

    pub const ELEMENT_KEY: u16 = 1;
    pub const ELEMENT_DATA: u16 = 2;
    pub const ELEMENT_FLAGS: u16 = 3;
    pub const ELEMENT_TIMEOUT: u16 = 4;
    pub const ELEMENT_EXPIRATION: u16 = 5;
    pub const ELEMENT_USERDATA: u16 = 6;
    pub const ELEMENT_OBJECT: u16 = 9;
    pub const ELEMENTS_TABLE: u16 = 1;
    pub const ELEMENTS_SET: u16 = 2;
    pub const ELEMENTS_LIST: u16 = 3;
    pub const ELEMENTS_SET_ID: u16 = 4;

    pub const OBJECT_TABLE: u16 = 1;
    pub const OBJECT_NAME: u16 = 2;
    pub const OBJECT_TYPE: u16 = 3;
    pub const OBJECT_DATA: u16 = 4;
    pub const QUOTA_BYTES: u16 = 1;
    pub const QUOTA_FLAGS: u16 = 2;
    pub const QUOTA_CONSUMED: u16 = 4;

    pub const GENERATION_ID: u16 = 1;

    pub const EXPRESSION_NAME: u16 = 1;
    pub const EXPRESSION_DATA: u16 = 2;
}

/// Attributes inside single expressions.
pub mod expression {
    pub const IMMEDIATE_REGISTER: u16 = 1;
    pub const IMMEDIATE_DATA: u16 = 2;
    pub const BITWISE_SOURCE: u16 = 1;
    pub const BITWISE_TARGET: u16 = 2;
    pub const BITWISE_LENGTH: u16 = 3;
    pub const BITWISE_MASK: u16 = 4;
    pub const BITWISE_XOR: u16 = 5;
    pub const BITWISE_OPERATION: u16 = 6;
    pub const COMPARE_SOURCE: u16 = 1;
    pub const COMPARE_OPERATION: u16 = 2;
    pub const COMPARE_DATA: u16 = 3;
    pub const LOOKUP_SET: u16 = 1;
    pub const LOOKUP_SOURCE: u16 = 2;
    pub const LOOKUP_TARGET: u16 = 3;
    pub const LOOKUP_SET_ID: u16 = 4;
    pub const LOOKUP_FLAGS: u16 = 5;
    pub const PAYLOAD_TARGET: u16 = 1;
    pub const PAYLOAD_BASE: u16 = 2;
    pub const PAYLOAD_OFFSET: u16 = 3;
    pub const PAYLOAD_LENGTH: u16 = 4;
    pub const PAYLOAD_SOURCE: u16 = 5;
    pub const META_TARGET: u16 = 1;
    pub const META_KEY: u16 = 2;
    pub const META_SOURCE: u16 = 3;
    pub const CT_TARGET: u16 = 1;
    pub const CT_KEY: u16 = 2;
    pub const CT_DIRECTION: u16 = 3;
    pub const CT_SOURCE: u16 = 4;
    pub const LIMIT_RATE: u16 = 1;
    pub const LIMIT_UNIT: u16 = 2;
    pub const LIMIT_BURST: u16 = 3;
    pub const LIMIT_TYPE: u16 = 4;
    pub const LIMIT_FLAGS: u16 = 5;
    pub const COUNTER_BYTES: u16 = 1;
    pub const COUNTER_PACKETS: u16 = 2;
    pub const LOG_GROUP: u16 = 1;
    pub const LOG_PREFIX: u16 = 2;
    pub const LOG_SNAPLEN: u16 = 3;
    pub const LOG_THRESHOLD: u16 = 4;
    pub const REJECT_TYPE: u16 = 1;
    pub const REJECT_CODE: u16 = 2;
    pub const REDIRECT_MINIMUM: u16 = 1;
    pub const REDIRECT_MAXIMUM: u16 = 2;
    pub const REDIRECT_FLAGS: u16 = 3;
    pub const OBJREF_SOURCE: u16 = 3;
    pub const OBJREF_SET: u16 = 4;
    pub const OBJREF_SET_ID: u16 = 5;
    pub const OBJREF_TYPE: u16 = 1;
    pub const OBJREF_NAME: u16 = 2;
}

pub const SET_FLAG_INTERVAL: u32 = 0x04;
pub const SET_FLAG_TIMEOUT: u32 = 0x10;
pub const SET_FLAG_OBJECT: u32 = 0x40;
pub const ELEMENT_FLAG_INTERVAL_END: u32 = 1;
/// How nft calls the keys of our sets.
pub const KEY_TYPE_IPV4: u32 = 7;
pub const KEY_TYPE_IPV6: u32 = 8;
pub const OBJECT_QUOTA: u32 = 2;
pub const QUOTA_FLAG_OVER: u32 = 1;

pub const HOOK_LOCAL_IN: u32 = 1;
pub const HOOK_LOCAL_OUT: u32 = 3;
pub const VERDICT_DROP: u32 = 0;
pub const VERDICT_ACCEPT: u32 = 1;
pub const REGISTER_VERDICT: u32 = 0;
/// The one register that our rules use.
pub const REGISTER: u32 = 1;
/// The port range of a `redir` comes from registers.
pub const NAT_RANGE_PORTS: u32 = 2;

/// NFLOG.
pub mod ulog {
    pub const MESSAGE_PACKET: u16 = 0;
    pub const MESSAGE_CONFIG: u16 = 1;
    pub const CONFIG_COMMAND: u16 = 1;
    pub const CONFIG_MODE: u16 = 2;
    pub const CONFIG_THRESHOLD: u16 = 5;
    pub const COMMAND_BIND: u8 = 1;
    pub const COPY_PACKET: u8 = 2;
    pub const PAYLOAD: u16 = 9;
    pub const PREFIX: u16 = 10;
}
