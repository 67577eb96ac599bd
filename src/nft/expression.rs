//! Expressions as the kernel runs them: a small register machine with one register.
//!
//! The same values are sent, read back, compared and interpreted. Counters carry no state here, and sets go by name,
//! because both are all that a dump and a request have in common. An expression that we never write decodes to
//! [`Expression::Foreign`], which equals nothing of ours.

use crate::attribute::{Attributes, Writer};
use crate::constant::{
    NAT_RANGE_PORTS, OBJECT_QUOTA, REGISTER, REGISTER_VERDICT, VERDICT_ACCEPT, VERDICT_DROP, attribute as a,
    expression as e,
};
use crate::fault::NftError;

/// Facts about a packet that are not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Meta {
    /// Name of the input interface, 16 bytes.
    InputName = 6,
    /// Name of the output interface, 16 bytes.
    OutputName = 7,
    /// IPv4 or IPv6 (`NFPROTO_*`), one byte.
    Family = 15,
    /// Protocol above IP, one byte.
    Protocol = 16,
}

/// Facts about a packet's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Connection {
    /// State bits, four bytes in host order.
    State = 0,
    /// 0 in the direction of the first packet, 1 for answers; one byte.
    Direction = 1,
}

/// Where an offset into a packet starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Header {
    /// The IP header.
    Network = 1,
    /// The header after it.
    Transport = 2,
}

/// How a register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Comparison {
    /// Equal.
    Equal = 0,
    /// Not equal.
    Unequal = 1,
    /// At most.
    AtMost = 3,
    /// At least.
    AtLeast = 5,
}

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// ICMP or ICMPv6 "administratively prohibited".
    Prohibited,
    /// A TCP reset.
    Reset,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Loads a fact about the packet.
    Meta(Meta),
    /// Loads a fact about the connection.
    Connection(Connection),
    /// Loads bytes of the packet.
    Payload {
        /// The header.
        base: Header,
        /// First byte.
        offset: u32,
        /// Number of bytes.
        length: u32,
    },
    /// Keeps the bits of `mask`.
    Mask(Vec<u8>),
    /// Ends the rule unless the register compares.
    Compare(Comparison, Vec<u8>),
    /// Ends the rule unless the register is in the set.
    Lookup {
        /// The set.
        set: String,
        /// True ends the rule when the register *is* in the set.
        inverted: bool,
    },
    /// Loads constant bytes.
    Load(Vec<u8>),
    /// Ends the rule beyond so many packets per second.
    Limit {
        /// Packets per second.
        rate: u64,
        /// Packets above the rate that pass at once.
        burst: u32,
    },
    /// Counts.
    Counter,
    /// Hands the packet to a log group.
    Log {
        /// The group.
        group: u16,
        /// Text before the packet.
        prefix: String,
        /// Bytes of the packet.
        snaplen: u32,
    },
    /// Charges the quota that the map has for the register; ends the rule until it is used up, or without one.
    Quota {
        /// The map from address to quota.
        map: String,
    },
    /// Charges one quota; ends the rule until it is used up.
    NamedQuota(String),
    /// Lets the packet pass.
    Accept,
    /// Discards the packet.
    Drop,
    /// Refuses the packet.
    Reject(Rejection),
    /// Sends the packet to the port that the register has, on the local host.
    Redirect,
    /// Anything else.
    Foreign {
        /// The kernel's name.
        name: String,
        /// Its attributes.
        bytes: Vec<u8>,
    },
}

const REJECT_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_PROHIBITED: u8 = 3;
const SECOND: u64 = 1;

impl Expression {
    /// Appends the expression; `set_id` numbers sets that the same transaction creates.
    pub fn encode(&self, writer: &mut Writer, set_id: impl Fn(&str) -> Option<u32>) {
        writer.text(a::EXPRESSION_NAME, self.name());
        writer.nested(a::EXPRESSION_DATA, |w| self.encode_data(w, set_id));
    }

    fn name(&self) -> &str {
        match self {
            Self::Meta(_) => "meta",
            Self::Connection(_) => "ct",
            Self::Payload { .. } => "payload",
            Self::Mask(_) => "bitwise",
            Self::Compare(..) => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Load(_) | Self::Accept | Self::Drop => "immediate",
            Self::Limit { .. } => "limit",
            Self::Counter => "counter",
            Self::Log { .. } => "log",
            Self::Quota { .. } | Self::NamedQuota(_) => "objref",
            Self::Reject(_) => "reject",
            Self::Redirect => "redir",
            Self::Foreign { name, .. } => name,
        }
    }

    fn encode_data(&self, w: &mut Writer, set_id: impl Fn(&str) -> Option<u32>) {
        match self {
            Self::Lookup { set, inverted } => {
                w.text(e::LOOKUP_SET, set);
                w.be32(e::LOOKUP_SOURCE, REGISTER);
                if let Some(id) = set_id(set) {
                    w.be32(e::LOOKUP_SET_ID, id);
                }
                w.be32(e::LOOKUP_FLAGS, u32::from(*inverted));
            }
            Self::Quota { map } => {
                w.be32(e::OBJREF_SOURCE, REGISTER);
                w.text(e::OBJREF_SET, map);
                if let Some(id) = set_id(map) {
                    w.be32(e::OBJREF_SET_ID, id);
                }
            }
            Self::Meta(_) | Self::Connection(_) | Self::Payload { .. } | Self::Mask(_) | Self::Compare(..) => {
                self.encode_match(w);
            }
            _ => self.encode_action(w),
        }
    }

    fn encode_match(&self, w: &mut Writer) {
        match self {
            Self::Meta(key) => {
                w.be32(e::META_KEY, *key as u32);
                w.be32(e::META_TARGET, REGISTER);
            }
            Self::Connection(key) => {
                w.be32(e::CT_KEY, *key as u32);
                w.be32(e::CT_TARGET, REGISTER);
            }
            Self::Payload { base, offset, length } => {
                w.be32(e::PAYLOAD_TARGET, REGISTER);
                w.be32(e::PAYLOAD_BASE, *base as u32);
                w.be32(e::PAYLOAD_OFFSET, *offset);
                w.be32(e::PAYLOAD_LENGTH, *length);
            }
            Self::Mask(mask) => {
                w.be32(e::BITWISE_SOURCE, REGISTER);
                w.be32(e::BITWISE_TARGET, REGISTER);
                w.be32(e::BITWISE_LENGTH, u32::try_from(mask.len()).unwrap_or_default());
                w.nested(e::BITWISE_MASK, |data| data.bytes(a::DATA_VALUE, mask));
                w.nested(e::BITWISE_XOR, |data| data.bytes(a::DATA_VALUE, &vec![0; mask.len()]));
            }
            Self::Compare(how, value) => {
                w.be32(e::COMPARE_SOURCE, REGISTER);
                w.be32(e::COMPARE_OPERATION, *how as u32);
                w.nested(e::COMPARE_DATA, |data| data.bytes(a::DATA_VALUE, value));
            }
            _ => {}
        }
    }

    fn encode_action(&self, w: &mut Writer) {
        match self {
            Self::Load(value) => {
                w.be32(e::IMMEDIATE_REGISTER, REGISTER);
                w.nested(e::IMMEDIATE_DATA, |data| data.bytes(a::DATA_VALUE, value));
            }
            Self::Accept => encode_verdict(w, VERDICT_ACCEPT),
            Self::Drop => encode_verdict(w, VERDICT_DROP),
            Self::Limit { rate, burst } => {
                w.be64(e::LIMIT_RATE, *rate);
                w.be64(e::LIMIT_UNIT, SECOND);
                w.be32(e::LIMIT_BURST, *burst);
                w.be32(e::LIMIT_TYPE, 0);
                w.be32(e::LIMIT_FLAGS, 0);
            }
            Self::Counter => {
                w.be64(e::COUNTER_BYTES, 0);
                w.be64(e::COUNTER_PACKETS, 0);
            }
            Self::Log { group, prefix, snaplen } => {
                w.be16(e::LOG_GROUP, *group);
                w.text(e::LOG_PREFIX, prefix);
                w.be32(e::LOG_SNAPLEN, *snaplen);
            }
            Self::NamedQuota(name) => {
                w.be32(e::OBJREF_TYPE, OBJECT_QUOTA);
                w.text(e::OBJREF_NAME, name);
            }
            Self::Reject(Rejection::Reset) => {
                w.be32(e::REJECT_TYPE, REJECT_RESET);
            }
            Self::Reject(Rejection::Prohibited) => {
                w.be32(e::REJECT_TYPE, REJECT_ICMPX);
                w.byte(e::REJECT_CODE, ICMPX_PROHIBITED);
            }
            // The kernel fills in what is not said here, and a read-back would differ.
            Self::Redirect => {
                w.be32(e::REDIRECT_MINIMUM, REGISTER);
                w.be32(e::REDIRECT_MAXIMUM, REGISTER);
                w.be32(e::REDIRECT_FLAGS, NAT_RANGE_PORTS);
            }
            _ => {}
        }
    }

    /// Reads one expression.
    ///
    /// # Errors
    /// [`NftError::Malformed`] when its attributes do not parse.
    pub fn decode(bytes: &[u8]) -> Result<Self, NftError> {
        let outer = Attributes::parse(bytes)?;
        let name = outer.text(a::EXPRESSION_NAME).unwrap_or_default();
        let data = outer.nested(a::EXPRESSION_DATA)?;
        let known = match name.as_str() {
            "meta" if data.find(e::META_SOURCE).is_none() && targets_register(data, e::META_TARGET) => {
                decode_meta(data).map(Self::Meta)
            }
            "ct" if data.find(e::CT_SOURCE).is_none() && targets_register(data, e::CT_TARGET) => {
                decode_connection(data).map(Self::Connection)
            }
            "payload" if data.find(e::PAYLOAD_SOURCE).is_none() && targets_register(data, e::PAYLOAD_TARGET) => {
                decode_payload(data)
            }
            "bitwise" => decode_mask(data)?,
            "cmp" if targets_register(data, e::COMPARE_SOURCE) => decode_compare(data)?,
            "lookup" if targets_register(data, e::LOOKUP_SOURCE) && data.find(e::LOOKUP_TARGET).is_none() => {
                let inverted = data.be32(e::LOOKUP_FLAGS).unwrap_or_default() != 0;
                data.text(e::LOOKUP_SET).map(|set| Self::Lookup { set, inverted })
            }
            "immediate" => decode_immediate(data)?,
            "limit" => decode_limit(data),
            "counter" => Some(Self::Counter),
            "log" => decode_log(data),
            "objref" => decode_object(data),
            "reject" => decode_reject(data),
            "redir" => decode_redirect(data),
            _ => None,
        };
        let bytes = outer.find(a::EXPRESSION_DATA).unwrap_or_default();
        Ok(known.unwrap_or_else(|| Self::Foreign { name, bytes: bytes.to_vec() }))
    }
}

fn encode_verdict(w: &mut Writer, code: u32) {
    w.be32(e::IMMEDIATE_REGISTER, REGISTER_VERDICT);
    w.nested(e::IMMEDIATE_DATA, |data| data.nested(a::DATA_VERDICT, |verdict| verdict.be32(a::VERDICT_CODE, code)));
}

fn targets_register(data: Attributes<'_>, kind: u16) -> bool {
    data.be32(kind) == Some(REGISTER)
}

fn decode_meta(data: Attributes<'_>) -> Option<Meta> {
    let key = data.be32(e::META_KEY)?;
    [Meta::InputName, Meta::OutputName, Meta::Family, Meta::Protocol].into_iter().find(|known| *known as u32 == key)
}

fn decode_connection(data: Attributes<'_>) -> Option<Connection> {
    let key = data.be32(e::CT_KEY)?;
    let plain = data.find(e::CT_DIRECTION).is_none();
    [Connection::State, Connection::Direction].into_iter().find(|known| plain && *known as u32 == key)
}

fn decode_payload(data: Attributes<'_>) -> Option<Expression> {
    let base = data.be32(e::PAYLOAD_BASE)?;
    let base = [Header::Network, Header::Transport].into_iter().find(|known| *known as u32 == base)?;
    Some(Expression::Payload { base, offset: data.be32(e::PAYLOAD_OFFSET)?, length: data.be32(e::PAYLOAD_LENGTH)? })
}

fn decode_mask(data: Attributes<'_>) -> Result<Option<Expression>, NftError> {
    let mask = data.nested(e::BITWISE_MASK)?.find(a::DATA_VALUE).unwrap_or_default().to_vec();
    let xor = data.nested(e::BITWISE_XOR)?.find(a::DATA_VALUE).unwrap_or_default();
    let plain = targets_register(data, e::BITWISE_SOURCE)
        && targets_register(data, e::BITWISE_TARGET)
        && data.be32(e::BITWISE_OPERATION).unwrap_or_default() == 0
        && xor.iter().all(|byte| *byte == 0)
        && xor.len() == mask.len();
    Ok(plain.then_some(Expression::Mask(mask)))
}

fn decode_compare(data: Attributes<'_>) -> Result<Option<Expression>, NftError> {
    let value = data.nested(e::COMPARE_DATA)?.find(a::DATA_VALUE).map(<[u8]>::to_vec);
    let how = data.be32(e::COMPARE_OPERATION);
    let all = [Comparison::Equal, Comparison::Unequal, Comparison::AtMost, Comparison::AtLeast];
    let how = all.into_iter().find(|known| Some(*known as u32) == how);
    Ok(how.zip(value).map(|(how, value)| Expression::Compare(how, value)))
}

fn decode_immediate(data: Attributes<'_>) -> Result<Option<Expression>, NftError> {
    let content = data.nested(e::IMMEDIATE_DATA)?;
    let verdict = content.nested(a::DATA_VERDICT)?;
    Ok(match data.be32(e::IMMEDIATE_REGISTER) {
        Some(REGISTER_VERDICT) if verdict.find(a::VERDICT_CHAIN).is_none() => match verdict.be32(a::VERDICT_CODE) {
            Some(VERDICT_ACCEPT) => Some(Expression::Accept),
            Some(VERDICT_DROP) => Some(Expression::Drop),
            _ => None,
        },
        Some(REGISTER) => content.find(a::DATA_VALUE).map(|value| Expression::Load(value.to_vec())),
        _ => None,
    })
}

fn decode_limit(data: Attributes<'_>) -> Option<Expression> {
    let plain = data.be64(e::LIMIT_UNIT) == Some(SECOND)
        && data.be32(e::LIMIT_TYPE).unwrap_or_default() == 0
        && data.be32(e::LIMIT_FLAGS).unwrap_or_default() == 0;
    let (rate, burst) = (data.be64(e::LIMIT_RATE)?, data.be32(e::LIMIT_BURST)?);
    plain.then_some(Expression::Limit { rate, burst })
}

fn decode_log(data: Attributes<'_>) -> Option<Expression> {
    let plain = data.be16(e::LOG_THRESHOLD).unwrap_or_default() == 0;
    let (group, prefix) = (data.be16(e::LOG_GROUP)?, data.text(e::LOG_PREFIX)?);
    let snaplen = data.be32(e::LOG_SNAPLEN).unwrap_or_default();
    plain.then_some(Expression::Log { group, prefix, snaplen })
}

fn decode_object(data: Attributes<'_>) -> Option<Expression> {
    if targets_register(data, e::OBJREF_SOURCE) {
        return data.text(e::OBJREF_SET).map(|map| Expression::Quota { map });
    }
    let name = data.text(e::OBJREF_NAME).filter(|_| data.be32(e::OBJREF_TYPE) == Some(OBJECT_QUOTA));
    name.map(Expression::NamedQuota)
}

fn decode_reject(data: Attributes<'_>) -> Option<Expression> {
    let code = data.find(e::REJECT_CODE).and_then(|value| value.first().copied());
    match (data.be32(e::REJECT_TYPE)?, code) {
        (REJECT_RESET, _) => Some(Expression::Reject(Rejection::Reset)),
        (REJECT_ICMPX, Some(ICMPX_PROHIBITED)) => Some(Expression::Reject(Rejection::Prohibited)),
        _ => None,
    }
}

fn decode_redirect(data: Attributes<'_>) -> Option<Expression> {
    let plain = targets_register(data, e::REDIRECT_MINIMUM)
        && targets_register(data, e::REDIRECT_MAXIMUM)
        && data.be32(e::REDIRECT_FLAGS) == Some(NAT_RANGE_PORTS);
    plain.then_some(Expression::Redirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Expression> {
        let log = Expression::Log { group: 100, prefix: "X: ".into(), snaplen: 128 };
        let payload = Expression::Payload { base: Header::Network, offset: 16, length: 4 };
        let mut all = vec![log, payload];
        for meta in [Meta::InputName, Meta::OutputName, Meta::Family, Meta::Protocol] {
            all.push(Expression::Meta(meta));
        }
        for how in [Comparison::Equal, Comparison::Unequal, Comparison::AtMost, Comparison::AtLeast] {
            all.push(Expression::Compare(how, vec![1, 2]));
        }
        for inverted in [false, true] {
            all.push(Expression::Lookup { set: "s".into(), inverted });
        }
        all.extend([Connection::State, Connection::Direction].map(Expression::Connection));
        all.extend([Rejection::Prohibited, Rejection::Reset].map(Expression::Reject));
        all.extend([Expression::Mask(vec![2, 0, 0, 0]), Expression::Load(vec![0, 53]), Expression::Redirect]);
        all.extend([Expression::Limit { rate: 20, burst: 50 }, Expression::Quota { map: "m".into() }]);
        all.extend([Expression::Counter, Expression::Accept, Expression::Drop, Expression::NamedQuota("q".into())]);
        all
    }

    #[test]
    fn expressions_survive_a_round_trip_and_differ_from_each_other() {
        let all = all();
        let unique: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        for expression in &all {
            let mut writer = Writer::default();
            expression.encode(&mut writer, |_| None);
            assert_eq!(&Expression::decode(&writer.into_bytes()).unwrap(), expression);
        }
    }

    #[test]
    fn expression_is_foreign_when_a_value_is_not_ours() {
        let mut writer = Writer::default();
        writer.text(a::EXPRESSION_NAME, "reject");
        writer.nested(a::EXPRESSION_DATA, |data| {
            data.be32(e::REJECT_TYPE, REJECT_ICMPX);
            data.byte(e::REJECT_CODE, 0);
        });
        let found = Expression::decode(&writer.into_bytes()).unwrap();
        assert!(matches!(found, Expression::Foreign { ref name, .. } if name == "reject"), "{found:?}");
    }
}
