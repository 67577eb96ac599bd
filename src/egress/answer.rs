//! DNS messages: reading a question, and building each kind of answer.
//!
//! Everything that comes in is hostile. A message that does not parse is not answered; one with anything but a single
//! question is answered with an error.

use std::net::{IpAddr, Ipv4Addr};

use domain::base::iana::{Class, ExtendedErrorCode, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::AdditionalBuilder;
use domain::base::opt::ExtendedError;
use domain::base::{Message, MessageBuilder, Name as WireName, ParsedName, Question, Record, Ttl};
use domain::rdata::{A, AllRecordData};
use terok_shield_policy::Name;

/// The largest answer over TCP.
pub const MAX_MESSAGE: usize = 65_535;
/// The largest answer over UDP that we send or ask for.
pub const MAX_DATAGRAM: u16 = 1232;
const MIN_DATAGRAM: u16 = 512;
/// A parking address may be gone at the next moment.
const PARKING_TTL: u32 = 1;

/// A question of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The message's id.
    pub id: u16,
    /// True when the sender wants us to ask others.
    pub recursion: bool,
    /// The name, byte for byte.
    pub wire_name: WireName<Vec<u8>>,
    /// The type of record.
    pub kind: Rtype,
    /// The largest datagram that the sender takes.
    pub datagram: u16,
    /// True when the sender knows EDNS, and so can be told why.
    pub edns: bool,
}

/// Why there is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not answered at all.
    Silent,
    /// It is answered with this code.
    Code(u16, Rcode),
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        let message = Message::from_octets(bytes).map_err(|_| Unusable::Silent)?;
        let header = message.header();
        if header.qr() {
            return Err(Unusable::Silent);
        }
        let bad = |code| Unusable::Code(header.id(), code);
        if header.opcode() != Opcode::QUERY {
            return Err(bad(Rcode::NOTIMP));
        }
        let question = message.sole_question().map_err(|_| bad(Rcode::FORMERR))?;
        if question.qclass() != Class::IN {
            return Err(bad(Rcode::REFUSED));
        }
        let wire_name = flatten(question.qname()).ok_or_else(|| bad(Rcode::FORMERR))?;
        let opt = message.opt();
        let datagram = opt.as_ref().map_or(MIN_DATAGRAM, |opt| opt.udp_payload_size());
        Ok(Self {
            id: header.id(),
            recursion: header.rd(),
            wire_name,
            kind: question.qtype(),
            datagram: datagram.clamp(MIN_DATAGRAM, MAX_DATAGRAM),
            edns: opt.is_some(),
        })
    }

    /// The name, when it is one that a policy can know.
    pub fn name(&self) -> Option<Name> {
        Name::parse(&self.wire_name.to_string()).ok()
    }
}

fn flatten<Octs: domain::dep::octseq::Octets>(name: &ParsedName<Octs>) -> Option<WireName<Vec<u8>>> {
    use domain::base::name::ToName as _;
    name.try_to_name().ok()
}

/// One answer, before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A parking address.
    Parked(Ipv4Addr),
    /// The name exists and has nothing of that type.
    Empty,
    /// The name is denied; the text says why.
    Denied(String),
    /// The name does not exist.
    Missing,
    /// The upstream failed.
    Failed,
    /// The upstream's records, those that may be told.
    Records(Upstream),
}

/// The part of an upstream's answer that goes to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its code.
    pub code: Rcode,
    /// Its message.
    pub message: Vec<u8>,
    /// Addresses that are left out.
    pub hidden: Vec<IpAddr>,
}

/// Builds the answer to a query, of at most `limit` bytes; a longer one is marked as cut.
pub fn build(query: &Query, answer: &Answer, limit: usize) -> Vec<u8> {
    let full = assemble(query, answer);
    match full {
        Some(bytes) if bytes.len() <= limit => bytes,
        Some(_) => truncated(query),
        None => failure(query.id, Some(query), Rcode::SERVFAIL),
    }
}

fn assemble(query: &Query, answer: &Answer) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec().question();
    let header = builder.header_mut();
    header.set_id(query.id);
    header.set_qr(true);
    header.set_rd(query.recursion);
    header.set_ra(true);
    header.set_rcode(match answer {
        Answer::Denied(_) | Answer::Missing => Rcode::NXDOMAIN,
        Answer::Failed => Rcode::SERVFAIL,
        Answer::Records(upstream) => upstream.code,
        Answer::Parked(_) | Answer::Empty => Rcode::NOERROR,
    });
    builder.push(Question::new_in(&query.wire_name, query.kind)).ok()?;
    let mut builder = builder.answer();
    match answer {
        Answer::Parked(address) => {
            builder
                .push(Record::new(&query.wire_name, Class::IN, Ttl::from_secs(PARKING_TTL), A::new(*address)))
                .ok()?;
        }
        Answer::Records(upstream) => {
            for record in records(upstream)? {
                builder.push(record).ok()?;
            }
        }
        _ => {}
    }
    let mut builder = builder.additional();
    if query.edns {
        push_edns(&mut builder, answer)?;
    }
    Some(builder.finish())
}

type AnyRecord<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

fn records(upstream: &Upstream) -> Option<Vec<AnyRecord<'_>>> {
    let message = Message::from_octets(upstream.message.as_slice()).ok()?;
    let mut kept = Vec::new();
    for record in message.answer().ok()? {
        let record = record.ok()?.into_any_record::<AllRecordData<_, _>>().ok()?;
        let hidden = address_of(record.data()).is_some_and(|address| upstream.hidden.contains(&address));
        if !hidden {
            kept.push(record);
        }
    }
    Some(kept)
}

fn address_of<O, N>(data: &AllRecordData<O, N>) -> Option<IpAddr> {
    match data {
        AllRecordData::A(a) => Some(a.addr().into()),
        AllRecordData::Aaaa(aaaa) => Some(aaaa.addr().into()),
        _ => None,
    }
}

fn push_edns(builder: &mut AdditionalBuilder<Vec<u8>>, answer: &Answer) -> Option<()> {
    let pushed = builder.opt(|opt| {
        opt.set_udp_payload_size(MAX_DATAGRAM);
        opt.set_rcode(OptRcode::NOERROR);
        if let Answer::Denied(why) = answer {
            let text = domain::dep::octseq::str::Str::from_string(why.clone());
            let error = ExtendedError::<Vec<u8>>::new(ExtendedErrorCode::FILTERED, Some(text));
            if let Ok(error) = error {
                opt.push(&error)?;
            }
        }
        Ok(())
    });
    pushed.ok()?;
    // The option's own code has the higher bits; the lower ones are in the header.
    let code = match answer {
        Answer::Denied(_) | Answer::Missing => Rcode::NXDOMAIN,
        Answer::Failed => Rcode::SERVFAIL,
        Answer::Records(upstream) => upstream.code,
        Answer::Parked(_) | Answer::Empty => Rcode::NOERROR,
    };
    builder.header_mut().set_rcode(code);
    Some(())
}

fn truncated(query: &Query) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    let header = builder.header_mut();
    header.set_id(query.id);
    header.set_qr(true);
    header.set_rd(query.recursion);
    header.set_ra(true);
    header.set_tc(true);
    let _ = builder.push(Question::new_in(&query.wire_name, query.kind));
    builder.finish()
}

/// An answer that is only a code.
pub fn failure(id: u16, query: Option<&Query>, code: Rcode) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    let header = builder.header_mut();
    header.set_id(id);
    header.set_qr(true);
    header.set_ra(true);
    header.set_rcode(code);
    if let Some(query) = query {
        let _ = builder.push(Question::new_in(&query.wire_name, query.kind));
    }
    builder.finish()
}

/// The addresses in a message's answer section.
///
/// Returns none for a message that does not parse.
pub fn addresses(message: &[u8]) -> Option<Vec<IpAddr>> {
    let message = Message::from_octets(message).ok()?;
    let mut found = Vec::new();
    for record in message.answer().ok()? {
        let record = record.ok()?;
        if record.class() != Class::IN {
            continue;
        }
        let data = record.into_any_record::<AllRecordData<_, _>>().ok()?;
        found.extend(address_of(data.data()));
    }
    Some(found)
}

/// True for the reverse name of an address in private space.
pub fn is_private_reverse(name: &Name) -> bool {
    let text = name.as_str();
    if let Some(labels) = text.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<u8> = labels.rsplit('.').filter_map(|label| label.parse().ok()).collect();
        octets.resize(4, 0);
        return <[u8; 4]>::try_from(octets)
            .is_ok_and(|octets| terok_shield_policy::address::is_private(Ipv4Addr::from(octets).into()));
    }
    if let Some(labels) = text.strip_suffix(".ip6.arpa") {
        let digits = labels.rsplit('.').filter_map(|label| u8::from_str_radix(label, 16).ok());
        let mut nibbles: Vec<u8> = digits.collect();
        nibbles.resize(32, 0);
        let bytes: Vec<u8> = nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        return <[u8; 16]>::try_from(bytes)
            .is_ok_and(|bytes| terok_shield_policy::address::is_private(std::net::Ipv6Addr::from(bytes).into()));
    }
    false
}
