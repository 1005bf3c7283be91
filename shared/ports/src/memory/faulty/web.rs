//! Third parties that fail by plan.

use async_trait::async_trait;

use super::Faulty;
use crate::{
    PortError, Web,
    web::{Answer, Request},
};

#[async_trait]
impl<T: Web + ?Sized> Web for Faulty<T> {
    async fn send(&self, request: Request) -> Result<Answer, PortError> {
        let url = request.url.clone();
        self.write("ask", url, self.inner.send(request)).await
    }
}
